"Catalogs as a shell makes them: stopped and gone on, sources that change, outputs that exist, wrong options, memory. No network, no real data."
import io, json, os, signal, subprocess, sys, time, zipfile
from pathlib import Path
import cv2, h5py, numpy as np, pandas as pd, pytest
from galaxy_ssl.catalog.classifier import GalaxyClassifier
from galaxy_ssl.catalog.stream import ImageStream
from galaxy_ssl.catalog.tables import Parts, predict_catalog
from galaxy_ssl.data import simulate_survey
from galaxy_ssl.study import cli
from galaxy_ssl.survey.survey import Survey

ROOT = Path(__file__).resolve().parent.parent
CLASSES = ['round','edge','spiral']
ENV = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1', PYTHONWARNINGS='ignore')

def jpg(im): return cv2.imencode('.jpg', im[...,::-1])[1].tobytes()
def one_line(err): return err.startswith('galaxy_ssl') and err.count('\n')==1 and err.endswith('\n') and 'Traceback' not in err

@pytest.fixture(scope='module')
def galaxies():
    s = simulate_survey('decals', 120, size=32)
    return s.images,np.arange(120)%3

@pytest.fixture(scope='module')
def made(tmp_path_factory, galaxies):
    "A tiny classifier, and a folder and a zip of 120 galaxies with a table"
    at,(x,y) = tmp_path_factory.mktemp('made'),galaxies
    clf = GalaxyClassifier('random', size=16, recipe=dict(stages=1, zooms=(1.,), tta=1)).fit(Survey(np.stack([cv2.resize(o,(16,16),interpolation=cv2.INTER_AREA) for o in x]), y, CLASSES))
    clf.save(at/'clf')
    rows = ['file,objid,ra,dec',*(f'{i:03}.jpg,{1237648720693755918+i},{150+i/7},{-i/9}' for i in range(120))]
    files = {f'{i:03}.jpg':jpg(o) for i,o in enumerate(x)}|{'metadata.csv':'\n'.join(rows).encode()}
    (at/'new').mkdir()
    for k,v in files.items(): (at/'new'/k).write_bytes(v)
    with zipfile.ZipFile(at/'new.zip','w') as z:
        for k,v in files.items(): z.writestr(k,v)
    labels = ['file,label',*(f'{i:03}.jpg,{CLASSES[y[i]]}' for i in range(0,120,4))]
    (at/'labels.csv').write_text('\n'.join(labels))
    return at

@pytest.fixture
def call(capsys):
    def call(*args):
        try: status = cli.main([str(o) for o in args])
        except SystemExit as e: status = e.code
        out,err = capsys.readouterr()
        return status,out,'\n'.join(o for o in err.split('\n') if not o.startswith(('GalaxyClassifier:','new: ','new.zip: ','simclr on','autoencoder on')))
    return call

# ---------------------------------------------------------------- stopped, and gone on

SLOW = """
import sys, time
from galaxy_ssl.catalog.tables import Parts
from galaxy_ssl.catalog.classifier import GalaxyClassifier
from galaxy_ssl.study import cli
Parts.rows,run = 16,GalaxyClassifier.run_batch
def slow(self, x):
    time.sleep({})
    return run(self, x)
GalaxyClassifier.run_batch = slow
sys.exit(cli.main(sys.argv[1:]))
"""

def start(seconds, *args): return subprocess.Popen([sys.executable,'-c',SLOW.format(seconds),*map(str,args)], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def wait_for(parts, n, p):
    t = time.time()
    while len(list(parts.glob('[0-9]*.npz')))<n and time.time()-t<300 and p.poll() is None: time.sleep(.02)
    assert p.poll() is None, p.communicate()

@pytest.mark.skipif(os.name=='nt', reason='sends SIGKILL')
def test_killed_and_gone_on(made, tmp_path, monkeypatch):
    p,dst = start(.5, 'predict', made/'clf', made/'new.zip', tmp_path/'killed.csv', '--bs', 8),tmp_path/'killed.csv'
    parts = tmp_path/'killed.csv.parts'
    wait_for(parts, 3, p)
    p.send_signal(signal.SIGKILL)
    p.wait()
    assert not dst.exists()                                  # nothing half written under its name
    torn = sorted(parts.glob('[0-9]*.npz'))[-1]
    torn.write_bytes(torn.read_bytes()[:-50])                # and what was half written is made anew
    monkeypatch.setattr(Parts, 'rows', 16)
    clf = GalaxyClassifier.load(made/'clf')
    for o in (dst,tmp_path/'whole.csv'): predict_catalog(clf, made/'new.zip', o, bs=8)
    assert dst.read_bytes()==(tmp_path/'whole.csv').read_bytes() and not parts.exists()
    assert json.loads((tmp_path/'killed.csv.json').read_text())['went_on_at']>=16

@pytest.mark.parametrize('suffix', ['.fits','.parquet'])
def test_stopped_and_gone_on(made, tmp_path, monkeypatch, suffix):
    if suffix=='.parquet': pytest.importorskip('pyarrow')
    stop(made, tmp_path/f'on{suffix}', monkeypatch, embeddings=True)
    clf = GalaxyClassifier.load(made/'clf')
    for o in ('on','whole'): predict_catalog(clf, made/'new', tmp_path/f'{o}{suffix}', bs=8, embeddings=True)
    assert (tmp_path/f'on{suffix}').read_bytes()==(tmp_path/f'whole{suffix}').read_bytes()

@pytest.mark.skipif(os.name=='nt', reason='sends SIGINT')
def test_ctrl_c(made, tmp_path):
    p = start(.5, 'predict', made/'clf', made/'new', tmp_path/'c.csv', '--bs', 8)
    wait_for(tmp_path/'c.csv.parts', 1, p)
    p.send_signal(signal.SIGINT)
    out,err = p.communicate(timeout=120)
    assert (p.returncode,out)==(130,'') and err.splitlines()[-1]=='galaxy_ssl: stopped; what was done is kept, the same command goes on from there'

class Stops:
    "A classifier that is stopped after some images"
    def __init__(self, clf, n): self.clf,self.n = clf,n
    def __getattr__(self, k): return getattr(self.clf, k)
    def run_batch(self, x):
        if self.n<=0: raise KeyboardInterrupt
        self.n -= len(x)
        return self.clf.run_batch(x)

def stop(made, dst, monkeypatch, src='new', **kwargs):
    monkeypatch.setattr(Parts, 'rows', 16)
    with pytest.raises(KeyboardInterrupt): predict_catalog(Stops(GalaxyClassifier.load(made/'clf'), 48), made/src, dst, bs=8, **kwargs)
    assert not dst.exists() and len(list(dst.with_name(dst.name+'.parts').glob('*.npz')))>=2

def test_a_changed_setting_does_not_go_on(made, tmp_path, call, monkeypatch):
    dst = tmp_path/'c.fits'
    stop(made, dst, monkeypatch)
    for more,what in ((('--embeddings',),'embeddings'), (('--ids',made/'labels.csv'),'source, images')):
        status,out,err = call('predict', made/'clf', made/'new', dst, '--bs', 8, *more)
        assert (status,out)==(1,'') and one_line(err) and f'with other settings ({what}' in err
    status,out,err = call('predict', made/'clf', made/'new.zip', dst, '--bs', 8)
    assert status==1 and one_line(err) and '(source)' in err
    assert call('predict', made/'clf', made/'new', dst, '--bs', 8)[0]==0
    assert sorted(o.name for o in tmp_path.iterdir())==['c.fits','c.fits.json']

def test_overwrite_begins_anew(made, tmp_path, call, monkeypatch):
    dst = tmp_path/'c.csv'
    stop(made, dst, monkeypatch)
    assert call('predict', made/'clf', made/'new.zip', dst, '--overwrite')[0]==0
    was = dst.read_bytes()
    status,out,err = call('predict', made/'clf', made/'new.zip', dst)
    assert (status,out)==(1,'') and one_line(err) and 'exists and is kept' in err and dst.read_bytes()==was

# ---------------------------------------------------------------- sources that change

def test_a_file_that_vanishes(made, tmp_path, galaxies):
    at = tmp_path/'new'
    at.mkdir()
    for o in (made/'new').iterdir(): (at/o.name).write_bytes(o.read_bytes())
    clf = GalaxyClassifier.load(made/'clf')
    stream = ImageStream(at, clf.reading_)
    (at/'050.jpg').unlink()
    (at/'051.jpg').write_bytes(b'something else')
    (at/'052.jpg').write_bytes((made/'new'/'053.jpg').read_bytes())
    c = pd.read_csv(predict_catalog(clf, stream, tmp_path/'c.csv', bs=8))
    whole = pd.read_csv(predict_catalog(clf, made/'new', tmp_path/'whole.csv'))
    assert c.reason.notna().to_numpy().nonzero()[0].tolist()==[50,51,52] and c.objid.equals(whole.objid)
    ok = c.reason.isna()
    assert c[ok].drop(columns='reason').equals(whole[ok].drop(columns='reason'))
    assert c['class'].isna().tolist()==(~ok).tolist() and c.unsure[~ok].all()

@pytest.mark.parametrize('kind', ['zip','h5'])
def test_an_archive_that_is_replaced(made, tmp_path, galaxies, kind):
    src = tmp_path/f'new.{kind}'
    def write(x):
        if kind=='h5':
            with h5py.File(tmp_path/'tmp.h5','w') as f: f.create_dataset('images', data=x, chunks=(8,32,32,3))
            os.replace(tmp_path/'tmp.h5', src)
        else:
            with zipfile.ZipFile(src,'w') as z:
                for i,o in enumerate(x): z.writestr(f'{i:03}.png', cv2.imencode('.png', o[...,::-1])[1].tobytes())
    write(galaxies[0])
    clf = GalaxyClassifier.load(made/'clf')
    stream = ImageStream(src, clf.reading_)
    write(galaxies[0][::-1])
    with pytest.raises(ValueError, match='has changed since it was opened|changed while it was read'): predict_catalog(clf, stream, tmp_path/'c.csv', bs=8)
    assert not (tmp_path/'c.csv').exists()

def test_a_source_that_changed_between_two_runs(made, tmp_path, monkeypatch):
    at = tmp_path/'new'
    at.mkdir()
    for o in (made/'new').iterdir(): (at/o.name).write_bytes(o.read_bytes())
    monkeypatch.setattr(Parts, 'rows', 16)
    clf = GalaxyClassifier.load(made/'clf')
    with pytest.raises(KeyboardInterrupt): predict_catalog(Stops(clf, 48), at, tmp_path/'c.csv', bs=8)
    (at/'003.jpg').unlink()
    with pytest.raises(ValueError, match=r'with other settings \(source, images\)'): predict_catalog(clf, at, tmp_path/'c.csv', bs=8)

# ---------------------------------------------------------------- outputs that exist, wrong calls

def test_outputs_that_exist_are_kept(made, tmp_path, call):
    for o in ('c.csv','c.fits','m.onnx','e.safetensors','f.json','to.csv'): (tmp_path/o).write_text('mine')
    calls = [('predict',made/'clf',made/'new',tmp_path/'c.csv'), ('embed',made/'clf',made/'new',tmp_path/'c.fits'), ('export',made/'clf',tmp_path/'m.onnx'),
             ('finetune',made/'new',tmp_path/'e','--labels',made/'labels.csv'), ('finetune',made/'new',tmp_path/'f','--labels',made/'labels.csv'),
             ('pretrain',tmp_path/'e','--survey',made/'new','--images',16,'--size',16)]
    for args in calls:
        status,out,err = call(*args)
        assert (status,out)==(1,'') and one_line(err) and ('exists and is kept' in err or 'exists and was not made with these settings' in err), (args,err)
    assert {o.read_text() for o in tmp_path.iterdir() if o.is_file()}=={'mine'}

@pytest.mark.parametrize('args,status,says', [
    (['predict','clf'], 2, 'required: src, dst'), (['predict','clf','new','c.txt'], 1, '`dst` must end in .csv or .parquet or .fits'),
    (['predict','clf','new','c.csv','--embeddings'], 1, 'a CSV holds no embeddings'), (['predict','none','new','c.csv'], 1, 'no classifier at none'),
    (['predict','clf','nowhere.zip','c.csv'], 1, 'there is no file or folder'), (['predict','clf','new','c.csv','--ids','none.txt'], 1, "there is no file 'none.txt'"),
    (['predict','clf','new','c.csv','--bs','0'], 2, 'at least 1'), (['embed','clf','new','e.fits','--size','32'], 2, '--size is for encoders: a classifier reads images'),
    (['embed','nothing','new','e.fits'], 1, 'the name of an encoder must be like simulated'), (['finetune','new','f','--mode','deep'], 2, "invalid choice: 'deep'"),
    (['finetune','new','f'], 1, 'has no column of labels'), (['pretrain','e','--start','simulated'], 2, '--start simulated needs --survey'),
    (['pretrain','e','--survey','new','--wd','1'], 2, '--wd is for simulated galaxies'), (['pretrain','e','--bs','64'], 2, '--bs 64 needs --survey'), (['pretrain','e','--method','simclr'], 2, '--method simclr needs --survey'),
    (['pretrain','e','--survey','new','--method','simulated'], 2, '--method simulated takes no --survey')])
def test_wrong_calls(made, tmp_path, call, monkeypatch, args, status, says):
    monkeypatch.chdir(made)
    had = sorted(made.rglob('*'))
    got,out,err = call(*args)
    assert (got,out)==(status,'') and says in err and one_line(err)
    assert sorted(made.rglob('*'))==had

def test_a_damaged_classifier(made, tmp_path, call):
    for k in ('.safetensors','.json'): (tmp_path/f'clf{k}').write_bytes((made/f'clf{k}').read_bytes())
    b = bytearray((tmp_path/'clf.safetensors').read_bytes())
    b[-100] ^= 255
    (tmp_path/'clf.safetensors').write_bytes(b)
    status,out,err = call('predict', tmp_path/'clf', made/'new', tmp_path/'c.csv')
    assert (status,out)==(1,'') and one_line(err) and 'is damaged' in err and not (tmp_path/'c.csv').exists()

# ---------------------------------------------------------------- sessions

def test_a_session(made, tmp_path, call):
    status,out,err = call('finetune', made/'new', tmp_path/'mine', '--labels', made/'labels.csv', '--encoder', 'random', '--size', 16)
    assert status==0 and out.startswith(f"{tmp_path/'mine.safetensors'}\nencoder: random\n") and 'temperature: ' in out
    status,out,err = call('predict', tmp_path/'mine', made/'new', tmp_path/'c.csv', '--ids', made/'labels.csv')
    assert status==0 and '30 of 30 images classified: edge ' in out
    c = pd.read_csv(tmp_path/'c.csv')
    assert c.objid.tolist()==[1237648720693755918+i for i in range(0,120,4)]
    info = json.loads((tmp_path/'c.csv.json').read_text())
    assert (info['command'],info['images'],sum(info['counts'].values()))==('predict',30,30)
    status,out,err = call('embed', tmp_path/'mine', made/'new', tmp_path/'e.fits')
    assert (status,out)==(0, f"{tmp_path/'e.fits'}\n")

def test_pretraining_goes_on(made, tmp_path, monkeypatch):
    from galaxy_ssl.base.checkpoints import Checkpoint
    from galaxy_ssl.catalog import pretraining
    class Often(Checkpoint):
        stop = None
        def __init__(self, path, **kwargs): super().__init__(path, every=0, **kwargs)
        def before_batch(self):
            super().before_batch()
            if self.training and self.epoch==self.stop: raise KeyboardInterrupt
    monkeypatch.setattr(pretraining, 'Checkpoint', Often)
    few = dict(images=96, epoch=32, size=16)
    whole = pretraining.pretrain_survey(tmp_path/'whole', made/'new', **few).read_bytes()
    monkeypatch.setattr(Often, 'stop', 2)
    with pytest.raises(KeyboardInterrupt): pretraining.pretrain_survey(tmp_path/'on', made/'new', **few)
    monkeypatch.setattr(Often, 'stop', 0)
    assert pretraining.pretrain_survey(tmp_path/'on', made/'new', **few).read_bytes()==whole
    monkeypatch.setattr(Often, 'stop', None)
    started = pretraining.pretrain_survey(tmp_path/'started', made/'new', start=str(tmp_path/'whole.safetensors'), **few)
    info = json.loads(started.with_suffix('.json').read_text())['made']
    assert started.read_bytes()!=whole and info['settings']['start']['encoder'].endswith('whole.safetensors')
    with pytest.raises(FileExistsError, match='was not made with these settings'): pretraining.pretrain_survey(tmp_path/'on', made/'new', seed=1, **few)
    assert pretraining.pretrain_survey(tmp_path/'on', made/'new', seed=1, overwrite=True, **few).read_bytes()!=whole

def test_pretrain_replaces_when_it_is_done(tmp_path, call):
    tiny = '--images',64,'--size',16,'--epoch',32
    assert call('pretrain', tmp_path/'e', *tiny)[0]==0
    was = (tmp_path/'e.safetensors').read_bytes()
    assert call('pretrain', tmp_path/'e', *tiny, '--seed', 1)[0]==1
    assert call('pretrain', tmp_path/'e', *tiny, '--seed', 1, '--overwrite')[0]==0
    assert (tmp_path/'e.safetensors').read_bytes()!=was and sorted(o.name for o in tmp_path.iterdir())==['e.json','e.safetensors']

# ---------------------------------------------------------------- light and flat

def test_help_is_light():
    for cmd in ('pretrain','finetune','predict','embed','nearest','label'):
        code = f"import sys; from galaxy_ssl.study import cli\ntry: cli.main(['{cmd}','--help'])\nexcept SystemExit: pass\nassert not {{'torch','fastai','cv2','h5py','numpy','pandas','matplotlib'}}&set(sys.modules)"
        r = subprocess.run([sys.executable,'-c',code], capture_output=True, text=True, env=ENV)
        assert r.returncode==0 and r.stdout.startswith(f'usage: galaxy_ssl {cmd}'), r.stderr

PEAK = """
import resource, sys, numpy as np, pandas as pd
from galaxy_ssl.catalog.tables import predict_catalog
class C:
    classes_,reading_,digest = ['a','b'],dict(size=16),'c'
    def run_batch(self, x):
        p = x.mean((1,2,3), dtype=np.float32)/255
        return np.stack([p,1-p],1),np.repeat(p[:,None],512,1)
    def columns(self, p): return pd.DataFrame({'class':np.array(['a','b'],object)[p.argmax(1)], 'probability':p.max(1), 'unsure':p.max(1)<.6, 'also':['']*len(p)})
predict_catalog(C(), sys.argv[1], sys.argv[2], embeddings=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""

@pytest.mark.skipif(os.name=='nt', reason='has no ru_maxrss')
def test_memory_is_flat(tmp_path):
    peak = {}
    for n in (4_000,40_000):
        with h5py.File(tmp_path/f'{n}.h5','w') as f:
            ds = f.create_dataset('images', (n,32,32,3), 'u1', chunks=(1000,32,32,3))
            for i in range(0, n, 1000): ds[i:i+1000] = np.random.default_rng(i).integers(0, 256, (1000,32,32,3), np.uint8)
            f['objid'] = 1237648720693755918+np.arange(n)
        r = subprocess.run([sys.executable,'-c',PEAK,tmp_path/f'{n}.h5',tmp_path/f'{n}.fits'], capture_output=True, text=True, env=ENV)
        assert r.returncode==0, r.stderr
        peak[n] = int(r.stdout.split()[-1])
    assert peak[40_000]<1.1*peak[4_000], peak
