"""Faults of long trainings, each made to happen: kills, signals, a full disk, memory that grows"""
import json, os, signal, subprocess, sys, textwrap, time
import pytest

ENV = {**os.environ, 'OMP_NUM_THREADS':'1'}

def run(code, *args, env=ENV, timeout=600, **kwargs):
    "A program in a process of its own: exit status, output, errors"
    p = subprocess.run([sys.executable,'-c',textwrap.dedent(code),*map(str,args)], env=env, capture_output=True, text=True, timeout=timeout, **kwargs)
    return p.returncode,p.stdout,p.stderr

# ---------------------------------------------------------------- kills

KILLED = '''
import os, random, signal, sys, time
from pathlib import Path
from galaxy_ssl.base.checkpoints import Checkpoint
from galaxy_ssl.base.encoders import create_encoder
from galaxy_ssl.catalog import pretraining
from galaxy_ssl.catalog.pretraining import pretrain_survey
from galaxy_ssl.data import simulate_survey
at,method = Path(sys.argv[1]),sys.argv[2]
class Often(Checkpoint):
    def __init__(self, path, **kwargs): super().__init__(path, every=0, **kwargs)
pretraining.Checkpoint = Often
pretraining._new_encoder = lambda cfg, size: create_encoder('test_resnet', size=size)     # a tiny one
s = simulate_survey('decals', 24, size=20).without_labels()
kw = dict(images=64, epoch=32, size=16, bs=16)
def started(dst):
    "A process that trains; it is forked, so that nothing is imported again"
    pid = os.fork()
    if pid: return pid
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    pretrain_survey(dst, s, method, **kw)
    os._exit(0)
def ended(pid): return os.waitpid(pid, 0)[1]
begin = time.time()
assert ended(started(at/'whole'))==0
took,whole,kills,rng = time.time()-begin,(at/'whole.safetensors').read_bytes(),0,random.Random(0)
for k in range(4):
    dst = at/f'killed{k}'
    for _ in range(5):
        pid = started(dst)
        time.sleep(took*(.1+.5*rng.random()))
        os.kill(pid, signal.SIGKILL)
        kills += ended(pid)==signal.SIGKILL
    assert ended(started(dst))==0
    assert (at/f'killed{k}.safetensors').read_bytes()==whole, k
    assert not list(at.glob(f'*killed{k}*.ckpt')) and not list(at.glob('.*.tmp'))
print(kills)
'''

@pytest.mark.skipif(not hasattr(os,'fork'), reason='forks')
def test_killed_at_random_moments(tmp_path):
    "It comes out bit for bit as if nothing had stopped it"
    status,out,err = run(KILLED, tmp_path, 'simclr')
    assert status==0, err
    assert int(out)>=10           # some trainings were done before they could be killed
    print(out)
    logs = [json.loads((tmp_path/f'{o}.json').read_text())['made']['log'] for o in ('whole','killed0','killed1','killed2','killed3')]
    assert all(o==logs[0] for o in logs)

SIGNAL = '''
import signal, sys
from galaxy_ssl.base.training import TrimMemory
from galaxy_ssl.catalog import pretraining
from galaxy_ssl.study.cli import main
class Send(TrimMemory):
    "A signal in the fourth batch of the second epoch"
    def before_step(self):
        if (self.epoch,self.iter)==(1,3): signal.raise_signal(int(sys.argv[3]))
if sys.argv[3]!='0': pretraining.TrimMemory = Send
sys.exit(main(['pretrain',sys.argv[2],'--survey',sys.argv[1],'--images','288','--epoch','96','--size','16','--bs','16']))
'''

@pytest.fixture(scope='module')
def survey(tmp_path_factory):
    import h5py
    from galaxy_ssl.data import simulate_survey
    s,path = simulate_survey('decals', 60, size=20),tmp_path_factory.mktemp('s')/'s.h5'
    with h5py.File(path, 'w') as f: f['images'],f['ans'] = s.images,s.labels
    return path

@pytest.mark.parametrize('number,status', [(signal.SIGTERM,143),(signal.SIGINT,130)])
def test_a_signal_saves_and_stops(survey, tmp_path, number, status):
    code = SIGNAL
    got,out,err = run(code, survey, tmp_path/'e', int(number))
    assert (got,out)==(status,'') and 'stopped in epoch 2 of 3; the same command goes on from' in err, err
    assert 'Traceback' not in err and [o.name.split('.')[2] for o in tmp_path.glob('*.ckpt')]==['0000000010']
    assert run(code, survey, tmp_path/'e', 0)[0]==0
    assert run(code, survey, tmp_path/'whole', 0)[0]==0
    assert (tmp_path/'e.safetensors').read_bytes()==(tmp_path/'whole.safetensors').read_bytes()
    assert not list(tmp_path.glob('*.ckpt'))

# ---------------------------------------------------------------- a full disk

FULL = '''
import resource, signal, sys
import torch
from fastai.basics import Adam, Callback, DataLoader, DataLoaders, Learner, set_seed
from torch import nn
from torch.utils.data import TensorDataset
from galaxy_ssl.base.checkpoints import Checkpoint, checkpoint_files, read_checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
class Full(Callback):
    "No file may grow beyond 20 kB in the third epoch"
    def before_epoch(self):
        if self.epoch==2: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000,resource.RLIM_INFINITY))
    def after_epoch(self):
        if self.epoch==2:
            self.kept = [read_checkpoint(o)['epoch'] for o in checkpoint_files(sys.argv[1])]
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,)*2)
set_seed(0)
x = torch.randn(64, 100)
dl = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), bs=8)
cb = Full()
learn = Learner(DataLoaders(dl, dl), nn.Sequential(nn.Linear(100,100),nn.Linear(100,1)), nn.MSELoss(), opt_func=Adam, cbs=[cb,Checkpoint(sys.argv[1], every=0)])
with learn.no_bar(), learn.no_logging(): learn.fit(4, 1e-3)
print(cb.kept, learn.recorder.values[-1][1]<learn.recorder.values[0][1])
'''

@pytest.mark.skipif(os.name=='nt', reason='limits the size of files')
def test_a_full_disk_keeps_the_older_checkpoint(tmp_path):
    status,out,err = run(FULL, tmp_path/'run.ckpt')
    assert status==0, err
    assert out=='[2, 1] True\n', out                     # the newest two, of before
    assert 'is kept, and training goes on' in err and not list(tmp_path.iterdir())

# ---------------------------------------------------------------- memory

FLAT = '''
import sys, torch
from fastai.basics import Callback, set_seed
from galaxy_ssl.base.checkpoints import Checkpoint
from galaxy_ssl.base.encoders import create_encoder
from galaxy_ssl.base.training import TrimMemory
from galaxy_ssl.data import simulate_survey, survey_dls
from galaxy_ssl.simclr import simclr_learner
def resident(): return int(open('/proc/self/statm').read().split()[1])*4096/1e6
class Watch(Callback):
    "Memory of the process after so many steps"
    order,run_valid,seen = 99,False,[]
    def after_batch(self):
        if self.train_iter%100==0: self.seen.append(resident())
s = simulate_survey('decals', 80, size=16)
learn = simclr_learner(survey_dls(s, list(range(80))*2, bs=8), create_encoder('test_resnet'), size=16, cbs=[Watch(),TrimMemory(),Checkpoint(sys.argv[1], every=1)])
with learn.no_bar(), learn.no_logging(): learn.fit(55, 1e-4)
print(learn.train_iter, *(f'{o:.0f}' for o in Watch.seen))
'''

@pytest.mark.skipif(not os.path.exists('/proc/self/statm'), reason='reads /proc')
def test_memory_is_flat_over_a_thousand_steps(tmp_path):
    status,out,err = run(FLAT, tmp_path/'run.ckpt')
    assert status==0, err
    steps,*mb = map(int, out.split())
    assert steps==1100 and len(mb)==11
    assert max(mb[6:])-max(mb[1:6])<15, mb        # MB, from the second hundred of steps to the eleventh

# ---------------------------------------------------------------- two processes, by the command

TWO = '''
import os, signal, sys
from galaxy_ssl.base.training import TrimMemory
from galaxy_ssl.catalog import pretraining
from galaxy_ssl.study.cli import main
class Send(TrimMemory):
    "A signal for the second process alone, in the eighth batch"
    def before_step(self):
        if (self.epoch,self.iter,os.environ.get('RANK'),sys.argv[1])==(1,2,'1','stop'): signal.raise_signal(signal.SIGTERM)
class Often(pretraining.Checkpoint):
    "At each batch at which the processes agree"
    def __init__(self, path, **kwargs): super().__init__(path, every=0, **kwargs)
pretraining.TrimMemory,pretraining.Checkpoint = Send,Often
if __name__=='__main__': sys.exit(main(sys.argv[2:]))
'''

@pytest.mark.skipif(os.name=='nt', reason='sends SIGTERM')
def test_two_processes_stop_together_and_one_goes_on(survey, tmp_path):
    pytest.importorskip('accelerate')
    (tmp_path/'two.py').write_text(TWO)
    args = ['pretrain',tmp_path/'e','--survey',survey,'--images',288,'--epoch',144,'--size',16,'--bs',16]
    two = lambda *what: subprocess.run([*map(str,[sys.executable,'-m','torch.distributed.run','--standalone','--nproc-per-node',2,*what,*args])],
                                       env=ENV, capture_output=True, text=True, timeout=300)
    r = two(tmp_path/'two.py', 'stop')
    assert r.returncode and r.stderr.count('stopped in epoch 2 of 2; the same command goes on from')==1, r.stderr
    assert max(o.name.split('.')[2] for o in tmp_path.glob('*.ckpt'))=='0000000017'       # they agree at each eighth batch
    status,out,err = run('import sys; from galaxy_ssl.study.cli import main; sys.exit(main(sys.argv[1:]))', *args)
    assert (status,out)==(0, f"{tmp_path/'e.safetensors'}\n"), err
    assert 'is of 2 processes and training goes on with 1' in err
    assert sorted(o.name for o in tmp_path.glob('e*'))==['e.json','e.safetensors']
    r = two('-m','galaxy_ssl')                                                             # it is done, and one process says so
    assert (r.returncode,r.stdout)==(0, f"{tmp_path/'e.safetensors'}\n"), r.stderr
    args[1] = tmp_path/'f'
    r = two(tmp_path/'two.py', 'whole')                                                    # checkpoints on the way, to the end
    assert (r.returncode,r.stdout)==(0, f"{tmp_path/'f.safetensors'}\n") and not list(tmp_path.glob('*.ckpt')), r.stderr
