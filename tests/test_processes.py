"Training in two and four processes is training in one: losses, gradients, batch norm, centers and scores of each method; and a process that dies ends the others"
import os, signal, subprocess, sys, time
from functools import lru_cache
from pathlib import Path
import pytest, torch

pytest.importorskip('accelerate')
ENV = {**{k:v for k,v in os.environ.items() if k not in ('RANK','WORLD_SIZE','LOCAL_RANK')}, 'OMP_NUM_THREADS':'1', 'PYTHONWARNINGS':'ignore', 'CUDA_VISIBLE_DEVICES':''}
METHODS = 'simclr','autoencoder','simulated','mae','dino','sinkhorn','supervised','linear'

# ---------------------------------------------------------------- what a process does, started by this file as a script

def tiny_net(width=8):
    "A small encoder with batch norm, for images of any size"
    from torch import nn
    net = nn.Sequential(nn.Conv2d(3,width,3,2,1,bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width,width,3,2,1), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    net.num_features = 4*width
    return net

def tiny_vit():
    from galaxy_ssl.base.encoders import create_encoder
    return create_encoder('vit_tiny_patch8', size=32, args=dict(embed_dim=32, depth=2, num_heads=2))

@lru_cache
def survey():
    from galaxy_ssl.data import simulate_survey
    return simulate_survey('sim_decals', 60, size=32, seed=1)

def loaders(n=38, bs=16):
    "Batches of 16, 16 and 6 images; for validation 16 and 1"
    from galaxy_ssl.data import survey_dls
    dls = survey_dls(survey(), range(n), range(n,n+17), bs=bs, device='cpu')
    dls.loaders[0] = dls.train.new(drop_last=False)
    return dls

def crops(x):
    "Two global crops and a local one, the same in each run"
    return torch.cat([x[...,:24,:24],x[...,8:,8:]]),x[...,8:24,8:24].contiguous()

def learner(method):
    "A learner whose views are functions of the image, with the weights of one seed"
    from fastai.basics import DataLoader, DataLoaders, SGD, set_seed
    from torch.utils.data import TensorDataset
    set_seed(0)
    kw = dict(opt_func=SGD, lr=.02, autocast=False)
    if method=='simclr':
        from galaxy_ssl.simclr import ProjectionHead, SimCLR, contrastive_accuracy, simclr_learner
        from galaxy_ssl.base.signals import spread, uniformity
        net = tiny_net()
        learn = simclr_learner(loaders(), net, lambda x: 9*(x-.1), head=ProjectionHead(net.num_features, norm=True), metrics=[contrastive_accuracy,spread,uniformity], **kw)
        learn.sim_clr.views2 = lambda x: 9*(x-.1).flip(3)
    elif method=='autoencoder':
        from galaxy_ssl.autoencoder import ResNetDecoder, autoencoder_learner
        net = tiny_net()
        learn = autoencoder_learner(loaders(), net, decoder=ResNetDecoder(net.num_features, 32, widths=(8,8,8,8), depth=1), **kw)
    elif method=='simulated':
        from galaxy_ssl.simulated import simulated_dls, simulated_learner
        from galaxy_ssl.survey.stream import simulated_sample
        learn = simulated_learner(simulated_dls(16, 4, 4, size=32, galaxies=2), tiny_net(), **kw)
        x,*y = simulated_sample(55, seed=3, size=32)
        data = [TensorDataset(x[a:b].float()/255, *(o[a:b] for o in y)) for a,b in ((0,38),(38,55))]
        learn.dls = DataLoaders(DataLoader(data[0], bs=16, shuffle=True), DataLoader(data[1], bs=16))
        learn.dls.n_inp = 1
    elif method=='mae':
        from galaxy_ssl.mae import MAEDecoder, mae_learner
        net = tiny_vit()
        learn = mae_learner(loaders(), net, None, decoder=MAEDecoder(net, width=16, depth=1, heads=2), **kw)
        learn.model.decoder.head.weight.data.normal_(std=.02)
    elif method in ('dino','sinkhorn'):
        from galaxy_ssl.dino import DINOHead, DINOLoss, DINOSchedule, dino_learner
        head = DINOHead(32, 12, 16, 8)
        loss = DINOLoss(12, centering='center' if method=='dino' else method)
        learn = dino_learner(loaders(), tiny_net() if method=='dino' else tiny_vit(), crops, head, loss, DINOSchedule(momentum=.5, temp_start=.06, frozen=0.), **kw)
    else:
        from galaxy_ssl.baseline import classifier_learner
        learn = classifier_learner(loaders(), tiny_net(), mode=method, **kw)
    learn.model.double()
    if hasattr(learn.model,'loss'): learn.model.loss.float()
    return learn

def watch():
    "Callbacks: doubles for the network, the same masks in each run, and what is kept of each step"
    from fastai.basics import Callback, get_model
    from galaxy_ssl.base.distributed import batch_rows
    from galaxy_ssl.base.training import Autocast
    class Doubles(Callback):
        order = Autocast.order-1
        def before_batch(self): self.learn.xb = tuple(o.double() if o.is_floating_point() else o for o in self.xb)
    class Masks(Callback):
        order = Autocast.order-4.5
        def before_batch(self):
            if not hasattr(self.learn,'masked_autoencoder') or not self.training: return
            from galaxy_ssl.mae import random_mask
            x,(rows,total) = self.xb[0],batch_rows(self.learn.dl, len(self.xb[0]))
            keep,mask = random_mask(total, 16, .75, generator=torch.Generator().manual_seed(self.train_iter))
            self.learn.xb,self.learn.yb = (x,keep[rows],mask[rows]),(get_model(self.learn.model).target(x, mask[rows], 12),)
    class Keep(Callback):
        order = 49
        def before_fit(self): self.losses,self.grads = [],[]
        def before_step(self): self.grads.append(torch.cat([p.grad.flatten() for p in get_model(self.learn.model).parameters() if p.grad is not None]).clone())
        def after_batch(self): self.losses.append(float(self.learn.loss.detach()))
    return Doubles(),Masks(),Keep()

def train(method):
    "What one process has after two epochs"
    from galaxy_ssl.baseline import evaluate
    from galaxy_ssl.base.distributed import several_processes
    learn = learner(method)
    *others,keep = watch()
    with several_processes(learn), learn.no_bar(), learn.no_logging(): learn.fit(2, cbs=[*others,keep])
    out = dict(losses=torch.tensor(keep.losses), grads=keep.grads, values=torch.tensor([[float(o) for o in v] for v in learn.recorder.values]),
               buffers={k:v for k,v in learn.model.named_buffers()}, names=[type(m).__name__ for m in learn.model.modules()])
    if method in ('supervised','linear'):
        ev = evaluate(learn.model.float() and learn, loaders().test_dl(range(37)))
        dl = loaders().test_dl(range(37))
        with several_processes(learn), learn.no_bar(): x,p,y = learn.get_preds(dl=dl, with_input=True)
        out.update(evaluation=dict(ev), inputs=x.flatten(1).sum(1), preds=p, targets=torch.as_tensor(y))
    return out

def views():
    "Galaxies that a process saw in an epoch, and a number that its random views depend on"
    import numpy as np, random
    from fastai.basics import Callback
    from galaxy_ssl.base.distributed import several_processes
    learn,seen = learner('supervised'),[]
    class Look(Callback):
        order = 49
        def before_batch(self):
            if self.training: seen.append(self.xb[0].flatten(1).sum(1))
    with several_processes(learn), learn.no_bar(), learn.no_logging():
        learn.fit(1, cbs=[watch()[0],Look()])
        drawn = [random.random(), float(np.random.rand()), float(torch.rand(()))]
    return dict(seen=seen, drawn=drawn)

def stream():
    "Losses and images of a training on simulated galaxies, of which each process draws its own"
    from fastai.basics import Callback
    from galaxy_ssl.base.distributed import several_processes
    from galaxy_ssl.simulated import simulated_dls, simulated_learner
    learn,seen,shown = simulated_learner(simulated_dls(32, 10, 8, size=32, galaxies=2, cameras='sdss'), tiny_net(), autocast=False),[],[]
    class Look(Callback):
        order = 49
        def before_batch(self): (seen if self.training else shown).append(self.xb[0].flatten(1).sum(1))
    with several_processes(learn), learn.no_bar(), learn.no_logging(): learn.fit(1, cbs=Look())
    return dict(losses=[float(o) for o in learn.recorder.losses], values=[float(o) for o in learn.recorder.values[-1]], seen=seen, shown=shown)

def first(folder):
    "In which order the processes went through a block"
    from galaxy_ssl.base.distributed import first_process, process_rank
    with first_process():
        if process_rank()==0: time.sleep(.5)
        (Path(folder)/f'block_{process_rank()}').write_text(str(time.time()))
    return {}

def endless(folder):
    "Train until a process is killed: the last one kills itself in the third step"
    from fastai.basics import Callback
    from galaxy_ssl.base.checkpoints import Checkpoint
    from galaxy_ssl.base.distributed import n_processes, process_rank, several_processes
    class Die(Callback):
        def before_batch(self):
            if self.learn.train_iter>2 and process_rank()==n_processes()-1: os.kill(os.getpid(), signal.SIGKILL)
    learn = learner('simclr')
    with several_processes(learn), learn.no_bar(), learn.no_logging(): learn.fit(100_000, cbs=[*watch(),Checkpoint(Path(folder)/'run.ckpt'),Die()])

def everything(folder):
    "Each method, in each of the processes that run this"
    from galaxy_ssl.base.distributed import process_rank, start_processes
    start_processes()
    out = {k:train(k) for k in METHODS}
    torch.save(dict(out, views=views(), stream=stream(), first=first(folder)), Path(folder)/f'{process_rank()}.pt')

def fork(n, folder):
    "Run everything in n processes that share what is imported already"
    from accelerate import debug_launcher
    folder.mkdir(exist_ok=True)
    if n>1: debug_launcher(everything, (folder,), n)
    else: everything(folder)

def main(what, folder):
    if what=='endless': return endless(folder)
    import fastai.distributed, galaxy_ssl.autoencoder, galaxy_ssl.baseline, galaxy_ssl.dino, galaxy_ssl.mae, galaxy_ssl.simclr, galaxy_ssl.simulated, timm
    survey()
    for n in (4,2,1): fork(n, Path(folder)/str(n))             # one last, in this process: one that has trained may not fork

# ---------------------------------------------------------------- the tests

def launch(*args, n=1, timeout=300):
    "Run this file, in n processes; the finished launcher and the seconds it took"
    command,start = ['-m','torch.distributed.run','--standalone','--nproc-per-node',str(n)] if n>1 else [],time.time()
    r = subprocess.run([sys.executable,*command,__file__,*map(str,args)], env=ENV, capture_output=True, text=True, timeout=timeout)
    return r,time.time()-start

@pytest.fixture(scope='module')
def results(tmp_path_factory):
    "What each process of one, two and four has"
    folder = tmp_path_factory.mktemp('processes')
    r,_ = launch('all', folder)
    assert r.returncode==0, r.stderr[-3000:]
    def f(n): return [torch.load(folder/str(n)/f'{k}.pt', weights_only=False) for k in range(n)]
    f.folder = folder
    return f

def far(a, b): return float((torch.as_tensor(a).double()-torch.as_tensor(b).double()).abs().max())

@pytest.mark.parametrize('n', [2,4])
@pytest.mark.parametrize('method', METHODS)
def test_as_one_process(results, method, n):
    "Every loss, gradient, running statistic and score, in every process, within 1e-5"
    one = results(1)[0][method]
    for other in (o[method] for o in results(n)):
        assert far(one['losses'], other['losses'])<1e-5
        assert len(one['grads'])==len(other['grads'])==6
        for a,b in zip(one['grads'], other['grads']): assert far(a, b)<1e-5*max(1e-3, float(a.abs().max()))
        for k,v in one['buffers'].items(): assert far(v, other['buffers'][k])<1e-5, k
        assert far(one['values'], other['values'])<1e-5
        assert one['names']==other['names']                    # batch norms are the ordinary ones again

@pytest.mark.parametrize('n', [2,4])
@pytest.mark.parametrize('method', ['supervised','linear'])
def test_evaluate_counts_each_image_once(results, method, n):
    "37 images, which neither 2 nor 4 divides"
    one = results(1)[0][method]['evaluation']
    assert one['n']==37
    for o in results(n): assert o[method]['evaluation']==one

@pytest.mark.parametrize('n', [2,4])
@pytest.mark.parametrize('method', ['supervised','linear'])
def test_predictions_with_their_images(results, method, n):
    one = results(1)[0][method]
    for k in ('inputs','preds','targets'):
        for o in results(n): assert o[method][k].shape==one[k].shape and far(o[method][k], one[k])<1e-5

@pytest.mark.parametrize('n', [2,4])
def test_each_image_once_an_epoch_in_the_order_of_one_process(results, n):
    one,several = results(1)[0]['views'],[o['views'] for o in results(n)]
    for i,batch in enumerate(one['seen']): assert far(batch, torch.cat([o['seen'][i] for o in several]))<1e-5
    assert len(one['seen'])==3 and len(torch.cat(one['seen']).unique())==38

@pytest.mark.parametrize('n', [2,4])
def test_random_numbers_differ(results, n):
    drawn = [o['views']['drawn'] for o in results(n)]
    assert drawn[0]==results(1)[0]['views']['drawn']
    for k in range(3): assert len({o[k] for o in drawn})==n

@pytest.mark.parametrize('n', [2,4])
def test_each_process_draws_other_galaxies(results, n):
    "In training; validation shows the galaxies of one process"
    one,several = results(1)[0]['stream'],[o['stream'] for o in results(n)]
    assert all(o['losses']==several[0]['losses'] and o['values']==several[0]['values'] for o in several)
    assert len(one['losses'])==len(several[0]['losses'])==4
    assert {len(b) for o in several for b in o['seen']}=={8//n}
    assert len(torch.cat([b for o in several for b in o['seen']]).unique())==32
    for i,batch in enumerate(one['shown']): assert torch.equal(batch, torch.cat([o['shown'][i] for o in several]))

@pytest.mark.parametrize('n', [2,4])
def test_the_first_process_goes_first(results, n):
    at = [float((results.folder/str(n)/f'block_{k}').read_text()) for k in range(n)]
    assert at[0]<min(at[1:])

def test_a_killed_process_ends_the_others(tmp_path):
    r,seconds = launch('endless', tmp_path, n=2, timeout=90)
    assert r.returncode and 'Signal 9' in r.stderr+r.stdout and seconds<60, r.stderr[-3000:]

def test_a_killed_process_ends_a_notebook_launcher(tmp_path):
    "`debug_launcher` is what `notebook_launcher` is on CPUs"
    code = f"import sys; sys.path.insert(0,{str(Path(__file__).parent)!r}); from accelerate import debug_launcher; import test_processes as t; debug_launcher(t.main, ('endless',{str(tmp_path)!r}), 2)"
    start = time.time()
    r = subprocess.run([sys.executable,'-c',code], env=ENV, capture_output=True, text=True, timeout=90)
    assert r.returncode and 'SIGKILL' in r.stderr and time.time()-start<60, r.stderr[-3000:]

if __name__=='__main__': main(*sys.argv[1:])
