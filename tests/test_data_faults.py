"Faults of surveys and their files: what a user does wrong, and what networks and archives do. No network, no real data."
import zipfile
from pathlib import Path
import cv2, h5py, numpy as np, pytest
from galaxy_ssl.survey import opening
from galaxy_ssl.data import *

N = 20
rng = np.random.default_rng(0)
IMAGES,LABELS = rng.integers(0, 256, (N,24,24,3), dtype=np.uint8),np.arange(N)%4

def jpg(im, q=95): return cv2.imencode('.jpg', im[...,::-1], [cv2.IMWRITE_JPEG_QUALITY,q])[1].tobytes()
def one_sentence(e): assert '\n' not in str(e.value)

def make_h5(path, attrs=None, **kw):
    with h5py.File(path,'w') as f:
        for k,v in {**dict(images=IMAGES, ans=LABELS), **kw}.items():
            if v is not None: f[k] = v
        f.attrs.update(attrs or {})
    return path

def make_zip(path, files=None, csv='file,label\n'+''.join(f'{i}.jpg,c{l}\n' for i,l in enumerate(LABELS))):
    with zipfile.ZipFile(path,'w') as z:
        for k,v in (files if files is not None else {f'{i}.jpg':jpg(o) for i,o in enumerate(IMAGES)}).items(): z.writestr(k,v)
        if csv is not None: z.writestr('labels.csv', csv)
    return path

# ---------------------------------------------------------------- names and parameters

@pytest.mark.parametrize('name', ['galaxy10', 'SDSS', 'sim_hubble'])
def test_unknown_name(name):
    with pytest.raises(ValueError, match='unknown survey') as e: get_survey(name)
    for o in [*SURVEYS, name, 'path']: assert o in str(e.value)
    one_sentence(e)

@pytest.mark.parametrize('name', [None, 3, '', '  ', ['sdss']])
def test_not_a_name(name):
    with pytest.raises(ValueError, match='name_or_path'): get_survey(name)

def test_missing_path():
    for o in ('nowhere/survey', 'nowhere.zip', Path('nowhere.h5')):
        with pytest.raises(FileNotFoundError, match='nowhere'): get_survey(o)

def test_wrong_kind_of_file(tmp_path):
    (tmp_path/'a.fits').write_text('SIMPLE = T')
    with pytest.raises(ValueError, match='a.fits is not a survey: expected an .h5, .* or a folder of images, got .fits'): get_survey(tmp_path/'a.fits')

@pytest.mark.parametrize('size', [0, -1, 64.5, '64', True, float('nan')])
def test_size(tmp_path, size):
    p = make_h5(tmp_path/'a.h5')
    for o in (p, 'sim_sdss', 'sdss'):
        with pytest.raises(ValueError, match='`size` must be a whole number of at least 1'): get_survey(o, size=size)
    with pytest.raises(ValueError, match='`size`'): ingest(tmp_path, tmp_path/'b.h5', size=size)

# ---------------------------------------------------------------- HDF5

@pytest.mark.parametrize('kw,match', [
    (dict(images=None), 'holds no images: expected a dataset `images`'), (dict(ans=None), 'no dataset of labels beside `images`'),
    (dict(images=np.concatenate([IMAGES,IMAGES],-1)), 'have 6 bands; pass those that are blue, green and red'), (dict(images=IMAGES[:,:20]), 'must be square, got 24×20 px'),
    (dict(images=IMAGES[...,:2]), '2 bands'), (dict(images=IMAGES.reshape(N,-1)), '20 rows of 1,728 numbers'),
    (dict(images=IMAGES[:0], ans=LABELS[:0]), 'no images'), (dict(ans=LABELS[:5]), 'got 5 labels'),
    (dict(ans=LABELS-2), 'got -2'), (dict(ans=LABELS+.5), 'whole numbers'),
    (dict(ans=np.random.default_rng(0).dirichlet([1]*4,N)), 'one-hot with a single 1'),
    (dict(ans=LABELS*0), 'at least two classes'),
    (dict(attrs=dict(classes=['a','b'])), 'must lie in 0 to 1'), (dict(attrs=dict(classes=['a','b','c','a'])), 'must differ')])
def test_h5_faults(tmp_path, kw, match):
    p = make_h5(tmp_path/'a.h5', **kw)
    with pytest.raises(ValueError, match=match) as e: get_survey(p)
    assert 'a' in str(e.value); one_sentence(e)

@pytest.mark.parametrize('keep', [0, 4, .5, .98])
def test_h5_cut_short(tmp_path, keep):
    p = make_h5(tmp_path/'a.h5')
    body = p.read_bytes()
    p.write_bytes(body[:int(len(body)*keep) if isinstance(keep,float) else keep])
    with pytest.raises(ValueError, match='is not a readable HDF5 file'): get_survey(p)

def test_h5_is_a_web_page(tmp_path):
    (tmp_path/'a.h5').write_text('<html>Too many requests</html>')
    with pytest.raises(ValueError, match='a.h5 is not a readable HDF5 file'): get_survey(tmp_path/'a.h5')

def test_h5_what_is_fine(tmp_path):
    ans = LABELS.copy(); ans[:3] = -1
    s = get_survey(make_h5(tmp_path/'a.h5', ans=ans.astype(float), ra=np.arange(N)*1., attrs=dict(classes=['p','q','r','s'])))
    assert (s.labels==ans).all() and s.classes==['p','q','r','s'] and s.table.ra[4]==4
    assert get_survey(make_h5(tmp_path/'b.h5', ans=None), labelled=False).classes==[]
    s = get_survey(make_h5(tmp_path/'Galaxy10.h5')) # known by its name
    assert s.classes==list(SURVEYS['sdss'].classes)

# ---------------------------------------------------------------- folders and archives

@pytest.mark.parametrize('csv,match', [
    (None, 'no labels.csv'), ('', 'not a readable table'), ('alpha,label\n0.jpg,c\n1.jpg,d', 'alpha'),
    ('file,beta\n0.jpg,c\n1.jpg,d', 'label'), ('file,label\n0.jpg,c\n1.jpg,d\n0.jpg,d', "'0.jpg' twice"),
    ('id,label\n0,c\n0.jpg,d', "'0.jpg' twice"), ('file,label\n0.jpg,c\n1.jpg,c', "at least two classes, got only 'c'"),
    ('file,label\nx.jpg,c\ny.jpg,d', 'names none of the 20 images'), ('file,label\n', 'names none of the 20 images'),
    ('file,label,label_id\n0.jpg,c,0\n1.jpg,d,0', 'each `label` must go with one `label_id`'),
    ('file,label,label_id\n0.jpg,c,zero\n1.jpg,d,0', "`label_id` must be a whole number, got 'zero'"),
    ('file,label\n0.jpg,-5\n1.jpg,2', 'class numbers must be 0 or more .-1 for none., got -5')])
def test_labels_csv_faults(tmp_path, csv, match):
    with pytest.raises(ValueError, match=match) as e: get_survey(make_zip(tmp_path/'a.zip', csv=csv))
    assert 'a' in str(e.value); one_sentence(e)

def test_labels_csv_in_another_encoding(tmp_path):
    z = make_zip(tmp_path/'a.zip', csv=None)
    with zipfile.ZipFile(z,'a') as f: f.writestr('labels.csv', 'file,label\n0.jpg,régulière\n1.jpg,spirale\n'.encode('latin1'))
    assert get_survey(z).classes==['régulière','spirale']

@pytest.mark.parametrize('name', ['../x.jpg', 'a/../../x.jpg', '/etc/x.jpg', 'C:\\x.jpg', '..\\x.jpg'])
def test_names_that_climb(tmp_path, name):
    (tmp_path/'in').mkdir()
    z = make_zip(tmp_path/'in'/'a.zip', files={'0.jpg':jpg(IMAGES[0]), name:jpg(IMAGES[1])})
    before = sorted(tmp_path.rglob('*'))
    for f in (lambda: get_survey(z), lambda: ingest(z, tmp_path/'in'/'b.h5')):
        with pytest.raises(ValueError, match='leads out of the archive') as e: f()
        one_sentence(e)
    assert sorted(tmp_path.rglob('*'))==before

def test_row_that_climbs_reads_nothing(tmp_path):
    (tmp_path/'x.jpg').write_bytes(jpg(IMAGES[0]))
    d = tmp_path/'in'; d.mkdir()
    for i in range(3): (d/f'{i}.jpg').write_bytes(jpg(IMAGES[i]))
    (d/'labels.csv').write_text('file,label\n0.jpg,a\n1.jpg,b\n../x.jpg,a\n')
    s = get_survey(d)
    assert s.skipped==[('../x.jpg','is in labels.csv but not among the files')] and s.ids==['0.jpg','1.jpg','2.jpg']
    assert s.labels.tolist()==[0,1,-1]

def many(n, bad):
    files = {f'{i}.jpg':jpg(IMAGES[i%N]) for i in range(n)}
    for i in range(bad): files[f'{i*3}.jpg'] = (b'', b'not an image', files[f'{i*3}.jpg'][:-50])[i%3]
    return files,'file,label\n'+''.join(f'{i}.jpg,c{i%4}\n' for i in range(n))

def test_few_broken_images_are_skipped(tmp_path):
    files,csv = many(300, 3)
    s = get_survey(make_zip(tmp_path/'a.zip', files, csv), size=12)
    assert s.skipped==[('0.jpg','is empty'), ('3.jpg','does not decode as an image'), ('6.jpg','is cut short')]
    assert len(s)==len(s.table)==len(s.ids)==297 and '3 files not used (first: 0.jpg, is empty)' in s._repr_markdown_()
    assert [s.classes[i] for i in s.labels]==[f"c{int(o[:-4])%4}" for o in s.ids] # labels stay with their images
    g = get_survey(ingest(tmp_path/'a.zip', tmp_path/'a.h5', crop=16, size=8))
    assert g.skipped==s.skipped and g.ids==s.ids and (g.labels==s.labels).all() and g.classes==s.classes

def test_many_broken_images_are_an_error(tmp_path):
    z = make_zip(tmp_path/'a.zip', *many(300, 4))
    with pytest.raises(ValueError, match='more than 1 % of the 300 images') as e: get_survey(z)
    one_sentence(e)
    with pytest.raises(ValueError, match='more than 1 %'): ingest(z, tmp_path/'b.h5', crop=16, size=8)
    assert sorted(o.name for o in tmp_path.iterdir())==['a.zip']

def test_damaged_archives(tmp_path):
    body = make_zip(tmp_path/'a.zip').read_bytes()
    (tmp_path/'b.zip').write_bytes(body[:len(body)//2])
    with pytest.raises(ValueError, match='b.zip is not a readable .zip'): get_survey(tmp_path/'b.zip')
    i = body.index(b'\xff\xd8')+100
    (tmp_path/'c.zip').write_bytes(body[:i]+b'\0\1\2\3'+body[i+4:]) # a wrong CRC: 1 image of 20
    assert [o for o,_ in get_survey(tmp_path/'c.zip').skipped]==['0.jpg']
    with pytest.raises(ValueError, match='more than 0 %.*0.jpg'): get_survey(tmp_path/'c.zip', max_bad=0)

def test_no_images(tmp_path):
    (tmp_path/'empty').mkdir()
    with pytest.raises(ValueError, match='empty holds no images'): get_survey(tmp_path/'empty')
    with pytest.raises(ValueError, match='holds no images'): get_survey(make_zip(tmp_path/'a.zip', files={}))

def test_shapes(tmp_path):
    files = {f'{i}.jpg':jpg(o) for i,o in enumerate(IMAGES)}
    odd = make_zip(tmp_path/'a.zip', {**files, '7.jpg':jpg(np.resize(IMAGES[7],(30,40,3)))})
    with pytest.raises(ValueError, match='one shape, got 40×30 px in 7.jpg .* pass `size`'): get_survey(odd)
    assert get_survey(odd, size=16).images.shape==(N,16,16,3)
    wide = make_zip(tmp_path/'b.zip', {k:jpg(np.zeros((20,30,3),np.uint8)) for k in files})
    with pytest.raises(ValueError, match='must be square, got 30×20 px'): get_survey(wide)
    assert get_survey(wide, crop=20).images.shape==(N,20,20,3)
    with pytest.raises(ValueError, match='too small for `crop`=25'): get_survey(odd, crop=25, size=16)

def test_grey_alpha_and_16_bit_become_rgb(tmp_path):
    g = IMAGES[0,...,0]
    files = {f'{i}.png':cv2.imencode('.png', o)[1].tobytes() for i,o in enumerate([g, np.dstack([g,g,g,g]), g.astype(np.uint16)*257])}
    s = get_survey(make_zip(tmp_path/'a.zip', files, 'file,label\n0.png,a\n1.png,b\n2.png,a'))
    for im in s.images: assert (im==g[...,None]).all()

def test_nested_archive_and_names_without_suffix(tmp_path):
    files = {f'gz/{i}.jpg':jpg(o) for i,o in enumerate(IMAGES)}|{'__MACOSX/gz/._0.jpg':b'junk', 'gz/.DS_Store':b''}
    with zipfile.ZipFile(tmp_path/'a.zip','w') as z:
        for k,v in files.items(): z.writestr(k,v)
        z.writestr('gz/labels.csv', '\ufeff"id","label"\n'+''.join(f'{i},"c, {l}"\n' for i,l in enumerate(LABELS)))
    s = get_survey(tmp_path/'a.zip')
    assert s.ids==[f'{i}.jpg' for i in range(N)] and s.classes==[f'c, {i}' for i in range(4)] and (s.labels==LABELS).all()

def test_folder_and_archive_agree(tmp_path):
    with zipfile.ZipFile(make_zip(tmp_path/'a.zip')) as z: z.extractall(tmp_path/'a')
    assert get_survey(tmp_path/'a').fingerprint==get_survey(str(tmp_path/'a.zip')).fingerprint

def test_unlabelled_archive(tmp_path):
    z = make_zip(tmp_path/'a.zip', csv=None)
    s = get_survey(z, labelled=False)
    assert (s.labels==-1).all() and s.classes==[] and 'unlabelled' in s._repr_markdown_()
    assert (get_survey(ingest(z, tmp_path/'a.h5', crop=16, size=8)).labels==-1).all()

@pytest.mark.parametrize('kw,match', [(dict(crop=25), 'too small for `crop`=25'), (dict(crop=0), '`crop` must be'), (dict(dst='b.txt'), 'must end in .h5')])
def test_ingest_faults_leave_nothing(tmp_path, kw, match):
    z,kw = make_zip(tmp_path/'a.zip'),dict(kw)
    with pytest.raises(ValueError, match=match): ingest(z, tmp_path/kw.pop('dst','b.h5'), **kw)
    assert [o.name for o in tmp_path.iterdir()]==['a.zip']
    with pytest.raises(FileNotFoundError): ingest(tmp_path/'none.zip', tmp_path/'b.h5')

# ---------------------------------------------------------------- simulated surveys are kept

def test_simulated_survey_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, 'SIM_LABELLED', 10); monkeypatch.setattr(opening, 'SIM_UNLABELLED', 2)
    s = get_survey('sim_decals', size=16, root=tmp_path)
    kept, = tmp_path.iterdir()
    def never(*args, **kwargs): raise AssertionError('simulated again')
    with monkeypatch.context() as m:
        m.setattr(opening, 'simulate_survey', never)
        again = get_survey('sim_decals', size=16, root=tmp_path)
    assert again.fingerprint==s.fingerprint and again.simulated and 'simulated' in again._repr_markdown_()
    kept.write_bytes(b'broken')
    assert get_survey('sim_decals', size=16, root=tmp_path).fingerprint==s.fingerprint
    (tmp_path/'file').write_text('')
    assert get_survey('sim_decals', size=16, root=tmp_path/'file').fingerprint==s.fingerprint # nowhere to keep it

# ---------------------------------------------------------------- splits, budgets, loaders

@pytest.mark.parametrize('counts', [[300,40,17], [3,2,1], [10,10], [4,5,6,7,8,9]])
def test_splits(counts):
    y = np.random.default_rng(1).permutation(np.r_[np.repeat(range(len(counts)),counts), [-1]*7])
    for seed in range(5):
        sp = make_splits(y, seed)
        assert sorted(np.concatenate(sp))==np.flatnonzero(y>=0).tolist() # disjoint and complete
        for c,n in enumerate(counts):
            tr,va,te = [int((y[o]==c).sum()) for o in sp]
            assert tr>=1 and (n<3 or (va>=1 and te>=1)) and (n!=2 or te==1) and abs(te-.2*n)<=1 and abs(va-.1*n)<=1

@pytest.mark.parametrize('seed', range(4))
def test_budgets_nest(seed):
    y = np.r_[np.repeat(range(4),[500,450,17,2]), [-1]*9]
    tr = make_splits(y, seed).train
    sets = []
    for n in (3,30,300):
        b = sample_budget(y, tr, n, seed)
        assert np.bincount(y[b]).tolist()==[n]*4 and set(b)<=set(tr)
        assert budget_counts(y, b).tolist()==[min(n,int((y[tr]==c).sum())) for c in range(4)]
        reps = np.unique(b, return_counts=True)[1]
        assert reps.max()-min(reps[y[np.unique(b)]==3])<=1 # repeats are spread evenly
        sets.append(set(b))
    assert sets[0]<sets[1]<sets[2]

@pytest.mark.parametrize('n', [-1, 1.5, '30', None, True, float('inf')])
def test_budget_faults(n):
    with pytest.raises(ValueError, match='`n` must be a whole number of at least 0'): sample_budget([0,1]*50, range(100), n)

def test_budget_too_large():
    with pytest.raises(ValueError, match='got 51 labels per class where class 0 has 50') as e: sample_budget([0,1]*50, range(100), 51)
    one_sentence(e)

def test_memory_mapped_survey(tmp_path):
    np.save(tmp_path/'a.npy', IMAGES)
    s = Survey(np.load(tmp_path/'a.npy', mmap_mode='r'), LABELS, list('abcd'))
    assert s.fingerprint==Survey(IMAGES, LABELS, list('abcd')).fingerprint
    x,y = survey_dls(s, range(N), bs=N, shuffle=False, device='cpu').one_batch()
    assert (x.numpy().transpose(0,2,3,1)*255).round().astype(np.uint8).tolist()==IMAGES.tolist()
