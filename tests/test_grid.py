"A grid as a user types it: its plan, its notebooks, what is left after it was killed, and several processes in one folder"
import json, os, signal, subprocess, sys, time
from pathlib import Path
import h5py, nbformat, pandas as pd, pytest
from galaxy_ssl.study.cli import main
from galaxy_ssl.data import simulate_survey
from galaxy_ssl.experiments import Plan, grid_cells, run_grid

ENV = {**os.environ,'PYTHONWARNINGS':'ignore'}

def write_survey(path, n=200, **kw):
    s = simulate_survey('sim_sdss', n, size=16, **kw)
    with h5py.File(path,'w') as f:
        f['images'],f['ans'] = s.images,s.labels
        f.attrs.update(classes=s.classes, simulated=True)

@pytest.fixture
def folder(tmp_path):
    write_survey(tmp_path/'a.h5', seed=1); write_survey(tmp_path/'b.h5', seed=2)
    (tmp_path/'tiny.json').write_text(json.dumps(dict(base='quick', size=16, simclr=dict(images_seen=300), autoencoder=dict(images_seen=100), supervised=dict(epochs=1), linear=dict(epochs=1), finetune=dict(epochs=1))))
    return tmp_path

ARGS = ('grid','--presets','tiny.json','--methods','majority,simclr','--modes','linear','--out-dir','out')
SHARED = ('--surveys','a.h5,b.h5','--n','3','--unlabelled','a.h5,b.h5')

@pytest.fixture
def grid(folder, monkeypatch, capfd):
    "The command in this process: exit status, stdout, stderr"
    monkeypatch.chdir(folder)
    monkeypatch.setenv('PYTHONWARNINGS','ignore')
    def f(*args):
        capfd.readouterr()
        status = main([*ARGS,*args])
        return status,*capfd.readouterr()
    return f

def rows(folder): return pd.read_csv(folder/'out'/'results.csv') if (folder/'out'/'results.csv').exists() else pd.DataFrame(dict(key=[]))
def encoders(folder): return sorted((folder/'out'/'encoders').glob('*.safetensors'))

def test_killed_grid_goes_on(folder, grid):
    "Killed, without a chance to clean up, as soon as there is a first row; then finished, and nothing is left to do"
    p = subprocess.Popen([sys.executable,'-m','galaxy_ssl.study.cli',*ARGS,*SHARED], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENV, start_new_session=True)
    while not len(rows(folder)) and p.poll() is None: time.sleep(.05)
    os.killpg(p.pid, signal.SIGKILL)
    assert '2 cells, 4 runs: 0 done, 4 to go in 2 cells' in p.communicate()[0]
    kept = rows(folder)
    assert 1<=len(kept)<4
    status,out,err = grid(*SHARED)
    assert status==0 and f'{len(kept)} done' in out, err
    assert len(rows(folder))==4 and len(encoders(folder))==1
    assert rows(folder).iloc[:len(kept)].time.tolist()==kept.time.tolist()  # not run again
    notebooks = sorted((folder/'out'/'notebooks').glob('*.ipynb'))
    assert [p.name for p in notebooks]==['a_n3_tiny_a-b.ipynb','b_n3_tiny_a-b.ipynb']
    assert all('SimCLR' in str([o for c in nbformat.read(p,4).cells for o in c.get('outputs',())]) for p in notebooks)
    before = rows(folder)
    status,out,_ = grid(*SHARED)
    assert status==0 and 'nothing to do' in out and 'SimCLR' in out and rows(folder).equals(before)

def test_two_processes_share_a_folder(folder):
    "Both find no encoder and no row: it is made once, and no row is lost"
    code = ("from galaxy_ssl.experiments import run_grid; run_grid('{}', 3, 'majority,simclr', 'linear', presets='tiny.json', unlabelled='a.h5,b.h5', held_out_surveys='a.h5,b.h5', "
            "probe_survey='a.h5', out_dir='out', notebooks=False)")
    ps = [subprocess.Popen([sys.executable,'-c',code.format(s)], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=ENV) for s in ('a.h5','b.h5')]
    said = [p.communicate()[1] for p in ps]
    assert [p.returncode for p in ps]==[0,0], said
    assert len(encoders(folder))==1 and sum('kept from an earlier run' in o for o in said)==1, said
    assert sorted(zip(rows(folder).survey, rows(folder).method))==[('a.h5','majority'),('a.h5','simclr'),('b.h5','majority'),('b.h5','simclr')]

def test_failed_cell_is_listed_and_the_others_run(folder, grid):
    "Where the first survey's encoder should go there is something else"
    (folder/'c.zip').write_bytes(b'no zip')
    status,out,err = grid('--surveys','a.h5','--n','3','--unlabelled','own;c.zip')
    assert status==1 and err.count('\n')==1 and 'c.zip' in err and not len(rows(folder))  # what can be known before is refused before
    grid('--surveys','a.h5,b.h5','--n','3','--dry-run')
    first = next(iter(Plan(grid_cells('a.h5', 3, 'simclr', 'linear', presets='tiny.json', out_dir='out', held_out_surveys='a.h5,b.h5')).missing))
    Path(f'{first}.lock').mkdir(parents=True)
    status,out,err = grid('--surveys','a.h5,b.h5','--n','3')
    assert status==1 and out.count('failed: a_n3_tiny:')==1 and out.count('failed:')==1, out
    assert set(rows(folder).survey)=={'b.h5'} and len(rows(folder))==2

def test_rows_of_another_version_are_kept_and_not_counted(folder, monkeypatch, capfd):
    monkeypatch.chdir(folder)
    kw = dict(surveys='a.h5', ns=3, methods='majority,random', modes='linear', presets='tiny.json', out_dir='out', notebooks=False)
    run_grid(**kw)
    old = rows(folder).assign(version='0.0.1')
    old['key'] = 'old'+old.key
    old.to_csv(folder/'out'/'results.csv', index=False)
    capfd.readouterr()
    run_grid(**kw)
    assert '2 other rows in out (of other cells, settings, data or versions): kept, not counted' in capfd.readouterr().out
    assert len(rows(folder))==4 and set(old.key)<=set(rows(folder).key)

def test_without_labels(folder, grid):
    "Budget none beside 3: two cells, of a survey whose classes have a map; one whose classes have none is refused before anything runs"
    (folder/'tiny.json').write_text(json.dumps(json.loads((folder/'tiny.json').read_text())|dict(no_labels=dict(images=40))))
    args = ('--surveys','a.h5','--n','none,3','--methods','majority,simulated')
    status,out,err = grid(*args)
    assert status==0 and '2 cells, 3 runs: 0 done, 3 to go in 2 cells' in out and 'encoder to be made' not in out, err
    assert '†' in out and 'none' in out                                       # it has seen this simulator's answers
    df = rows(folder)
    assert sorted(zip(df.n, df.method))==[(-1,'simulated'),(3,'majority'),(3,'simulated')]
    assert df[df.n==-1].images.tolist()==[40] and set(json.loads(df[df.n==-1].real_per_class.iloc[0]).values())=={0}
    assert [p.name for p in sorted((folder/'out'/'notebooks').glob('*.ipynb'))]==['a_n3_tiny.ipynb','a_nnone_tiny.ipynb']
    assert 'nothing to do' in grid(*args)[1]
    with h5py.File(folder/'b.h5','a') as f: f.attrs['classes'] = ['ring','not_ring',*map(str,range(8))]
    status,out,err = grid('--surveys','b.h5','--n','none')
    assert status==1 and err.count('\n')==1 and "no recipes are known for the classes 'ring', 'not_ring'" in err
    (folder/'map.json').write_text('{"ring": "disc"}')
    assert "`class_map` lacks the classes 'not_ring'" in grid('--surveys','b.h5','--n','none','--class-map','map.json')[2]

def test_notebook_ships_with_the_package(tmp_path):
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable,'setup.py','-q','build','--build-base',str(tmp_path/'b'),'--build-lib',str(tmp_path/'lib')], cwd=root, check=True, capture_output=True, env=ENV)
    assert (tmp_path/'lib'/'galaxy_ssl'/'05_experiments.ipynb').read_bytes()==(root/'nbs'/'05_experiments.ipynb').read_bytes()
