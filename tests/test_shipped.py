"The encoder that comes with the package: its files, its faults, the user's files beside it, and the command that makes one. Tiny trainings, no network, no real data."
import io, json, os, shutil, subprocess, sys, tarfile, time, zipfile
from pathlib import Path
import pytest, torch
from house import ROOT, settings
import galaxy_ssl
from galaxy_ssl.base import encoders
from galaxy_ssl.core import SHIPPED, create_encoder, encoder_info, load_encoder, save_encoder
from galaxy_ssl.study import cli, simulated

WEIGHTS = Path(galaxy_ssl.__file__).parent/'weights'

def one_sentence(e):
    text = str(e.value)
    assert '\n' not in text and len(text)<400 and not text.endswith('.'), text

# ---------------------------------------------------------------- its files

def test_only_what_ships_is_in_the_folder(): assert sorted(o.name for o in WEIGHTS.iterdir())==sorted(f'{k}{o}' for k in SHIPPED for o in ('.json','.safetensors'))

@pytest.mark.parametrize('name', SHIPPED)
def test_size_and_kind(name):
    assert (WEIGHTS/f'{name}.safetensors').stat().st_size<=25e6
    info = encoder_info(name)
    assert info['format']<=encoders.FORMAT and info['dtype']=='float16' and info['num_features']==512
    assert (WEIGHTS/f'{name}.json').stat().st_size<200_000

@pytest.mark.parametrize('name', SHIPPED)
def test_it_loads_as_float32_and_trains_on(name):
    e,x = load_encoder(name),torch.rand(4,3,64,64)
    assert not e.training and {o.dtype for o in e.parameters()}=={torch.float32} and all(o.requires_grad and o.is_leaf for o in e.parameters())
    assert all(torch.isfinite(o).all() for o in e.state_dict().values()) and not any(o.is_meta for o in [*e.parameters(),*e.buffers()])
    f = e(x)
    assert f.shape==(4,512) and torch.isfinite(f).all() and f.std(0).mean()>0
    e.train()(x).sum().backward()
    assert all(o.grad is not None for o in e.parameters())
    a,b = load_encoder(name),load_encoder(name)
    assert a is not b and all(p.data_ptr()!=q.data_ptr() for p,q in zip(a.parameters(), b.parameters()))

def test_no_machine_is_named():
    text = (WEIGHTS/'simulated.json').read_text()
    for o in (str(ROOT),str(Path.home()),'/tmp/',os.uname().nodename if len(os.uname().nodename)>4 else '\0'): assert o not in text, o

def test_it_loads_quickly_in_a_new_process(tmp_path):
    code = "import time; from galaxy_ssl.core import load_encoder; t = time.perf_counter(); load_encoder('simulated'); print(time.perf_counter()-t)"
    r = subprocess.run([sys.executable,'-W','ignore','-c',code], capture_output=True, text=True, check=True, cwd=tmp_path, env={**os.environ,'PYTHONPATH':str(ROOT)})
    assert float(r.stdout)<5                                  # 0.5 s where the processor is free; tests run where it may not be

# ---------------------------------------------------------------- its faults

@pytest.fixture
def package(tmp_path, monkeypatch):
    "A copy of the package's folder of encoders, which may be spoiled"
    shutil.copytree(WEIGHTS, tmp_path/'package'/'weights')
    monkeypatch.setattr(encoders, 'files', lambda name: tmp_path/'package')
    return tmp_path/'package'/'weights'

def flip(f):
    b = bytearray(f.read_bytes())
    b[len(b)//2] ^= 1
    f.write_bytes(b)
def change(**kw):
    def do(f):
        f = f.with_suffix('.json')
        f.write_text(json.dumps({**json.loads(f.read_text()),**kw}))
    return do

@pytest.mark.parametrize('spoil,exc,says', [
    (flip, ValueError, 'is damaged: its SHA-256 is not the recorded'), (lambda f: f.write_bytes(f.read_bytes()[:-10]), ValueError, 'install galaxy_ssl again'),
    (lambda f: f.write_bytes(b'version https://git-lfs.github.com/spec/v1'), ValueError, 'is damaged'), (lambda f: f.unlink(), FileNotFoundError, "lacks the encoder 'simulated'"),
    (lambda f: f.with_suffix('.json').unlink(), FileNotFoundError, 'install galaxy_ssl again'), (lambda f: shutil.rmtree(f.parent), FileNotFoundError, 'simulated.safetensors; install'),
    (lambda f: f.with_suffix('.json').write_text('{'), ValueError, 'is not valid JSON'), (lambda f: f.with_suffix('.json').write_text('[]'), ValueError, 'holds a list'),
    (lambda f: f.with_suffix('.json').write_bytes(b'\xff\xfe'), ValueError, 'is not valid JSON'), (change(sha256=3), ValueError, 'recorded 3…'), (change(arch='resnet34'), ValueError, 'does not hold the weights of the resnet34'),
    (change(format=encoders.FORMAT+1), ValueError, f'is of format {encoders.FORMAT+1}, and this version of galaxy_ssl reads formats up to {encoders.FORMAT}; install a later version'),
    (change(format='new'), ValueError, "is of format 'new'"), (change(format=None), ValueError, 'is of format None'), (change(format=0), ValueError, 'is of format 0')])
def test_a_spoiled_file_is_one_sentence(package, spoil, exc, says):
    load_encoder('simulated')
    spoil(package/'simulated.safetensors')
    with pytest.raises(exc) as e: load_encoder('simulated')
    assert says in str(e.value)
    one_sentence(e)

def test_a_file_of_a_user_is_of_a_later_format(tmp_path):
    f = save_encoder(create_encoder(), tmp_path/'mine')
    change(format=7, dtype='float8')(f)
    for read in (load_encoder, encoder_info):
        with pytest.raises(ValueError, match='mine.json is of format 7') as e: read(f)
        one_sentence(e)

def test_a_file_of_before_is_read(tmp_path):
    e = create_encoder()
    f = save_encoder(e, tmp_path/'old')
    info = json.loads(f.with_suffix('.json').read_text())
    for k in ('format','dtype'): info.pop(k)
    f.with_suffix('.json').write_text(json.dumps(info))
    assert all(torch.equal(a,b) for a,b in zip(e.state_dict().values(), load_encoder(f).state_dict().values()))

# ---------------------------------------------------------------- the user's files

def test_a_file_of_that_name_of_the_user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="write './simulated' for a file in this folder") as e: save_encoder(create_encoder(), 'simulated')
    one_sentence(e)
    assert not list(tmp_path.iterdir())
    mine = save_encoder(create_encoder(), './simulated', mine=True)
    assert mine.resolve()==tmp_path/'simulated.safetensors'
    for o in ('./simulated','simulated.safetensors','simulated.json',Path('simulated'),mine,tmp_path/'simulated',str(tmp_path/'simulated')): assert load_encoder(o).info['made']=={'mine':True}, o
    assert load_encoder('simulated').info==json.loads((WEIGHTS/'simulated.json').read_text())

@pytest.mark.parametrize('arch', ['resnet18','mobilenetv3_small_050','test_vit'])
def test_half_precision(tmp_path, arch):
    e = create_encoder(arch, size=64)
    whole,half = save_encoder(e, tmp_path/'whole', note='é'),save_encoder(e, tmp_path/'half', half=True, note='é')
    assert half.stat().st_size<.62*whole.stat().st_size
    a,b = load_encoder(whole),load_encoder(half)
    assert (a.info['dtype'],b.info['dtype'],b.info['made'])==('float32','float16',{'note':'é'})
    for (k,v),w in zip(a.state_dict().items(), b.state_dict().values()):
        assert w.dtype==v.dtype and (torch.equal(w, v.half().float()) if v.ndim>1 else torch.equal(w, v)), k
    assert save_encoder(b, tmp_path/'again', half=True).read_bytes()==half.read_bytes()
    x = torch.rand(2,3,64,64)
    with torch.no_grad(): assert torch.allclose(a(x), b(x), atol=.02*a(x).abs().max().item())

def test_what_half_precision_cannot_hold(tmp_path):
    e = create_encoder()
    with torch.no_grad():
        e.bn1.running_var.fill_(1e-9)
        e.layer1[0].bn1.running_var.fill_(1e9)
    b = load_encoder(save_encoder(e, tmp_path/'a', half=True))
    assert torch.equal(b.bn1.running_var, e.bn1.running_var) and torch.equal(b.layer1[0].bn1.running_var, e.layer1[0].bn1.running_var)
    with torch.no_grad(): e.conv1.weight.fill_(1e6)
    with pytest.raises(ValueError, match='conv1.weight of `encoder` has larger weights; save it with half=False') as err: save_encoder(e, tmp_path/'b', half=True)
    one_sentence(err)
    assert not list(tmp_path.glob('*b*'))

@pytest.mark.skipif(os.name=='nt', reason='has no such permissions')
def test_others_may_read_it(tmp_path):
    old = os.umask(0o022)
    try: f = save_encoder(create_encoder(), tmp_path/'a')
    finally: os.umask(old)
    assert f.stat().st_mode&0o777==f.with_suffix('.json').stat().st_mode&0o777==0o644

# ---------------------------------------------------------------- the package that is built

def test_wheel_and_sdist_hold_it(tmp_path):
    pytest.importorskip('setuptools')
    src = tmp_path/'src'
    shutil.copytree(ROOT, src, symlinks=True, ignore=lambda d,names: [o for o in names if Path(d)==ROOT and o not in ('galaxy_ssl','setup.py','settings.ini','MANIFEST.in','README.md','LICENSE','nbs') or Path(d)==ROOT/'nbs' and o!='05_experiments.ipynb' or o=='__pycache__'])
    for kind in ('bdist_wheel','sdist'):
        r = subprocess.run([sys.executable,'setup.py','-q',kind,'-d',tmp_path/'dist'], cwd=src, capture_output=True, text=True)
        if "invalid command 'bdist_wheel'" in r.stderr: pytest.skip('this setuptools makes no wheels')
        assert r.returncode==0, r.stderr
    lib = settings()['lib_name']
    names = [f'{lib}/weights/{k}{o}' for k in SHIPPED for o in ('.json','.safetensors')]
    with zipfile.ZipFile(next((tmp_path/'dist').glob('*.whl'))) as z:
        for o in names: assert z.read(o)==(ROOT/o).read_bytes(), o
        assert sum(o.startswith(f'{lib}/weights/') for o in z.namelist())==len(names)
    with tarfile.open(next((tmp_path/'dist').glob('*.tar.gz'))) as t: assert set(names)<={o.name.partition('/')[2] for o in t.getmembers()}

def test_it_is_kept_in_git():
    try: r = subprocess.run(['git','check-ignore',*(str(WEIGHTS/f'{k}{o}') for k in SHIPPED for o in ('.json','.safetensors'))], cwd=ROOT, capture_output=True, text=True)
    except OSError: pytest.skip('there is no git')
    assert r.stdout==''

# ---------------------------------------------------------------- the command that makes one

TINY = ['--images','256','--size','32','--epoch','64','--seed','3']

@pytest.fixture
def call(capsys):
    def call(*args):
        try: status = cli.main([str(o) for o in args])
        except SystemExit as e: status = e.code
        return (status,*capsys.readouterr())
    return call

class Often(simulated.Checkpoint):
    "Writes after each epoch; kills the training before one"
    stop = None
    def __init__(self, path, **kwargs): super().__init__(path, every=0, **kwargs)
    def before_batch(self):
        super().before_batch()
        if self.training and self.epoch==self.stop: raise KeyboardInterrupt

def test_killed_and_gone_on(call, tmp_path, monkeypatch):
    monkeypatch.setattr(simulated, 'Checkpoint', Often)
    assert call('pretrain', tmp_path/'whole', *TINY)[:2]==(0, f"{tmp_path/'whole.safetensors'}\n")
    for stop in (1,3):
        monkeypatch.setattr(Often, 'stop', stop)
        status,out,err = call('pretrain', tmp_path/'on.safetensors', *TINY)
        assert (status,out)==(130,'') and err.splitlines()[-1]=='galaxy_ssl: stopped; what was done is kept, the same command goes on from there'
        assert 1<=len(list(tmp_path.glob('on*.ckpt')))<=3 and not (tmp_path/'on.safetensors').exists()
    monkeypatch.setattr(Often, 'stop', 0)                     # an epoch that is done is not trained again
    assert call('pretrain', tmp_path/'on', *TINY)[0]==0
    assert (tmp_path/'on.safetensors').read_bytes()==(tmp_path/'whole.safetensors').read_bytes()
    a,b = (encoder_info(tmp_path/o)['made'] for o in ('whole','on'))
    assert a['log']==b['log'] and a['settings']==b['settings'] and (a['images'],a['epochs'],a['bs'])==(256,4,64)
    assert a['command']=='galaxy_ssl pretrain whole --images 256 --seed 3 --size 32 --epoch 64' and a['device'] and a['threads']>=1 and a['seconds']>=0
    assert sorted(o.name for o in tmp_path.iterdir())==['on.json','on.safetensors','whole.json','whole.safetensors']
    was = (tmp_path/'on.safetensors').stat().st_mtime_ns      # and a finished one is not trained again, or lost
    assert call('pretrain', tmp_path/'on', *TINY)[0]==0 and (tmp_path/'on.safetensors').stat().st_mtime_ns==was
    status,out,err = call('pretrain', tmp_path/'on', *TINY[:-1], 4)
    assert (status,out,err.count('\n'))==(1,'',1) and 'was not made with these settings; remove it' in err

def test_another_seed_takes_no_checkpoint_of_this_one(tmp_path, monkeypatch):
    monkeypatch.setattr(simulated, 'Checkpoint', Often)
    few = dict(images=128, epoch=64, size=32)
    other = simulated.pretrain_simulated(tmp_path/'other', seed=1, **few).read_bytes()
    monkeypatch.setattr(Often, 'stop', 1)
    with pytest.raises(KeyboardInterrupt): simulated.pretrain_simulated(tmp_path/'a', **few)
    monkeypatch.setattr(Often, 'stop', None)
    assert simulated.pretrain_simulated(tmp_path/'a', seed=1, **few).read_bytes()==other

@pytest.mark.parametrize('args,status,says', [(['--images','1'],2,"at least 2, got '1'"), (['--images','many'],2,"got 'many'"), (['--seed','-1'],2,"got '-1'"), (['--size','8'],2,"at least 16, got '8'"),
    (['--epoch','1'],2,"at least 2, got '1'"), (['--lr','x'],2,"at least 0, got 'x'"), (['--lr','0'],1,'`lr` must be a number above 0'), (['--wd','nan'],2,"at least 0, got 'nan'"),
    (['--cameras','webb'],1,"one of wide, sdss, legacy, hsc, euclid, jwst, got 'webb'"), (['--minutes','3'],2,'unrecognized arguments')])
def test_bad_values(call, tmp_path, args, status, says):
    got,out,err = call('pretrain', tmp_path/'e', *args)
    assert (got,out,err.count('\n'))==(status,'',1) and says in err and err.startswith('galaxy_ssl')
    assert not list(tmp_path.iterdir())

def test_it_needs_a_name(call): assert call('pretrain')[0]==2

@pytest.mark.skipif(os.name=='nt' or hasattr(os,'geteuid') and os.geteuid()==0, reason='may write anywhere')
def test_where_nothing_can_be_written(call, tmp_path):
    tmp_path.chmod(0o500)
    status,out,err = call('pretrain', tmp_path/'e', *TINY)
    assert (status,out,err.count('\n'))==(1,'',1)
def test_a_file_in_the_place_of_a_folder(call, tmp_path):
    (tmp_path/'f').write_text('')
    status,out,err = call('pretrain', tmp_path/'f'/'e', *TINY)
    assert (status,out,err.count('\n'))==(1,'',1)
