"Names of files and folders as people have them, through the settings of a study, the command line and get_survey"
import contextlib, io, os
import h5py, numpy as np, pytest
from pathlib import Path
from PIL import Image
from galaxy_ssl.base.utils import as_paths, part_paths
from galaxy_ssl.data import get_survey
from galaxy_ssl.experiments import Study, StudySettings
from galaxy_ssl.study.cli import main

ODD = ['a, b', 'one;two', 'with spaces', '[2024]', '2024', 'é-composed', 'é-decomposed', 'hash#1', '100%', "it's", 'a=b', '{x}', '星系']

def galaxies(n=90, size=32, seed=0):
    "Toy galaxies of three classes: the rounder, the smaller the class"
    y,rng = np.arange(n)%3,np.random.default_rng(seed)
    u,v = np.mgrid[:size,:size]-size/2+.5
    light = np.exp(-np.sqrt(u**2+(v[None]*(1+y)[:,None,None])**2)/4)
    return (200*light[...,None]+rng.integers(0, 30, (n,size,size,3))).clip(0,255).astype(np.uint8),y

def write_h5(path, seed=0):
    ims,y = galaxies(seed=seed)
    with h5py.File(path,'w') as f: f['images'],f['ans'] = ims,y
    return ims,y

def write_folder(path, n=30, seed=0):
    path.mkdir()
    ims,y = galaxies(n, seed=seed)
    for i,im in enumerate(ims): Image.fromarray(im).save(path/f'g{i:02}.png')
    (path/'labels.csv').write_text('file,label\n'+'\n'.join(f'g{i:02}.png,{"abc"[k]}' for i,k in enumerate(y)))
    return ims,y

def call(*args):
    "Exit status, stdout and stderr of the command"
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try: status = main([str(o) for o in args])
        except SystemExit as e: status = e.code
    return status,out.getvalue(),err.getvalue()

@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('GALAXY_SSL_DATA', str(tmp_path/'cache'))
    return tmp_path

@pytest.mark.parametrize('name', ODD)
def test_a_file_of_any_name_opens(name):
    ims,y = write_h5(f'{name}.h5')
    s = get_survey(f'{name}.h5')
    assert (s.images==ims).all() and (s.labels==y).all() and s.name==name

@pytest.mark.parametrize('name', ODD)
def test_a_folder_of_any_name_opens_and_is_ingested(name):
    ims,_ = write_folder(Path(name))
    for path in (name, f'{name}/', Path(name).resolve()): assert (get_survey(path).images==ims).all()
    status,out,err = call('ingest', name, f'{name}.h5', '--crop', 0, '--size', 0)
    assert (status,out.splitlines()[0],err) == (0,f'{name}.h5','')
    assert (get_survey(f'{name}.h5').images==ims).all()

@pytest.mark.parametrize('name', ODD)
def test_a_study_takes_a_path_of_any_name_wherever_it_takes_one(name):
    for k in range(2): write_h5(f'{name}{k}.h5', k)
    one,two = f'{name}0.h5',f'{name}1.h5'
    for kw in (dict(test_surveys=two, unlabelled=f'own,{two}'), dict(test_surveys=[two], unlabelled=['own',two])):
        st = StudySettings(one, **kw)
        assert (st.survey,st.test_surveys,st.unlabelled)==(one,[two],['own',two])
        assert StudySettings(**st.as_params())==st  # the way through papermill
    assert part_paths(f'own;{two};{one},{two}', ';')==['own',two,f'{one},{two}']

def test_a_study_runs_and_tests_on_surveys_with_commas_in_their_names():
    for k,o in enumerate(('a, b.h5','c;d.h5')): write_h5(o, k)
    s = Study('a, b.h5', n=3, methods='majority', size=32, test_surveys='c;d.h5')
    s.run()
    assert [(r['survey'],r['test_survey'],round(r['accuracy'],3)) for r in s.rows]==[('a, b.h5','',.333),('a, b.h5','c;d.h5',.333)]

def test_the_grid_takes_paths_with_commas_and_semicolons():
    for k,o in enumerate(('a, b.h5','c;d.h5','e.h5')): write_h5(o, k)
    status,out,err = call('grid', '--surveys', 'a, b.h5,e.h5', '--unlabelled', 'own;c;d.h5;c;d.h5,e.h5', '--n', 3,
                          '--methods', 'majority', '--size', 32, '--test-surveys', 'c;d.h5', '--dry-run')
    assert (status,err)==(0,'') and out.startswith('6 cells, 6 runs: 0 done, 6 to go in 6 cells')

@pytest.mark.parametrize('text,read', [('a.h5,b.h5',['a.h5','b.h5']), ('[a.h5, b.h5]',['a.h5','b.h5']), ("['a, b.h5', 'c']",['a, b.h5','c']),
    ('a.h5',['a.h5']), ('',[]), (None,[]), (2024,['2024']), (Path('a.h5'),['a.h5']), (('a.h5','b;c'),['a.h5','b;c'])])
def test_names_that_are_not_there_are_parted_as_they_were(text, read): assert as_paths(text)==read

@pytest.mark.parametrize('kind', ['file','folder','relative'])
def test_a_link_is_what_it_leads_to(kind, here):
    if kind=='folder': ims,_ = write_folder(here/'real')
    else: ims,_ = write_h5('real')
    link = here/('link' if kind=='folder' else 'link.h5')
    link.symlink_to('real' if kind=='relative' else here/'real')
    assert (get_survey(link).images==ims).all()

@pytest.mark.parametrize('name', ['~/mine.h5','~/mine'])
def test_the_home_folder_may_be_written_as_a_tilde(name, here, monkeypatch):
    monkeypatch.setenv('HOME', str(here))
    ims,_ = write_h5('mine.h5') if name.endswith('h5') else write_folder(here/'mine')
    assert (get_survey(name).images==ims).all()
    assert StudySettings('sim_sdss', test_surveys=f'{name},sim_decals').test_surveys==[name,'sim_decals']

def test_two_surveys_of_one_name_are_not_taken_for_one(here):
    for d in 'ab':
        (here/d).mkdir()
        write_h5(f'{d}/s.h5')
    with pytest.raises(ValueError, match="`test_surveys` must have names that differ, from the survey's too, got 's.h5' twice"):
        StudySettings('a/s.h5', test_surveys='b/s.h5')

def test_a_table_that_was_edited_is_read_again(here):
    from galaxy_ssl.study.surveys import open_survey
    write_folder(here/'mine')
    assert open_survey('mine', 32).classes==['a','b','c']
    (here/'mine/labels.csv').write_text((here/'mine/labels.csv').read_text().replace(',c',',d'))
    assert open_survey('mine', 32).classes==['a','b','d']

@pytest.mark.parametrize('labels', ['folders','table'])
def test_a_study_is_told_where_the_labels_are(labels, here):
    ims,y = galaxies()
    for i,(im,k) in enumerate(zip(ims,y)):
        p = here/'mine'/('abc'[k] if labels=='folders' else 'all')/f'{i:02}.png'
        p.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(im).save(p)
    (here/'catalog.csv').write_text('name,class\n'+'\n'.join(f'{i:02},{"abc"[k]}' for i,k in enumerate(y)))
    s = Study('mine', n=3, methods='majority', size=32, labels='folders' if labels=='folders' else 'catalog.csv')
    assert (s.survey.classes,s.survey.counts.tolist())==(['a','b','c'],[30,30,30])
    if labels=='folders': # a survey to test on is read in the same way
        os.rename('mine', 'first')
        (here/'second').symlink_to(here/'first')
        t = Study('first', n=3, methods='majority', size=32, labels='folders', test_surveys='second')
        assert t.data.split('second').survey.classes==['a','b','c']

@pytest.mark.parametrize('max_bad,ok', [(.01,False),(.05,True),('0.05',True)])
def test_a_study_says_how_many_images_may_be_unusable(max_bad, ok, here):
    write_folder(here/'mine', 90)
    for i in (3,40): (here/f'mine/g{i:02}.png').write_bytes(b'<html>503</html>')
    make = lambda: Study('mine', n=3, methods='majority', size=32, max_bad=max_bad)
    if ok: assert len(make().survey)==88
    else:
        with pytest.raises(ValueError, match='max_bad'): make()
