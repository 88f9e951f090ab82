"Views, losses, simulated images and training on a GPU, against the same on the CPU or in float64. Skipped where there is none; `.ci/gpu` runs them there."
import os
import pytest
import torch

DEVICE = os.environ.get('GALAXY_SSL_TEST_DEVICE') or 'cuda'
if DEVICE=='cuda' and not torch.cuda.is_available(): pytest.skip('no GPU here', allow_module_level=True)

import numpy as np
from fastai.basics import Callback, set_seed
from torch.nn import functional as F
from galaxy_ssl.augment import AUGMENTATIONS, EXTRAS, make_pipeline, two_views
from galaxy_ssl.autoencoder import autoencoder_learner
from galaxy_ssl.base.checkpoints import Checkpoint
from galaxy_ssl.base.training import fit_status, recorder_df
from galaxy_ssl.core import create_encoder
from galaxy_ssl.data import survey_dls
from galaxy_ssl.dino import dino_learner, dino_loss
from galaxy_ssl.engine.opencv import run_torch
from galaxy_ssl.mae import hidden_ids, mae_learner, random_mask
from galaxy_ssl.simclr import contrastive_accuracy, nt_xent, simclr_learner
from galaxy_ssl.survey.galaxies import INSTRUMENTS
from galaxy_ssl.survey.simulate import simulate_images
from galaxy_ssl.survey.survey import Survey

NAMES = [*AUGMENTATIONS, *EXTRAS]
NOISY = {'gaussian_noise','sky_noise'}
SIMCLR = dict(names='crop_resize,horizontal_flip,color_jitter,gray,gaussian_blur', p=[1,.5,.8,.2,.5])


@pytest.fixture(scope='module')
def galaxies(): return simulate_images('sim_decals', np.arange(64)%10, size=64)


@pytest.fixture(scope='module')
def x(galaxies): return torch.from_numpy(galaxies).permute(0,3,1,2).float()/255

# ---------------------------------------------------------------- views

def run(x, plan, pipe):
    n,hw = len(x),tuple(x.shape[-2:])
    return run_torch(x, pipe.stages(plan, n, hw)).clamp(0,1)


def close(a, b, most=4/255, mean=2e-4):
    "As images of 8 bits would show it; tensor cores round convolutions"
    d = (a.cpu()-b.cpu()).abs()
    assert d.max()<=most and d.mean()<=mean, f'largest difference {d.max():.2g}, mean {d.mean():.2g}'


@pytest.mark.parametrize('name', [o for o in NAMES if o not in NOISY])
def test_an_augmentation_is_that_of_the_cpu(name, x):
    "The same draws, made once"
    pipe = make_pipeline(name, 48, p=.7, backend='torch', seed=3)
    plan = pipe.plan(len(x), (64,64))
    y = run(x.to(DEVICE), plan, pipe)
    assert y.device.type==DEVICE and y.shape==(64,3,48,48)
    close(y, run(x, plan, pipe))


@pytest.mark.parametrize('kw', [dict(names='rotation,flip,zoom,psf_blur', p=1), SIMCLR], ids=['rotation','simclr'])
def test_a_sequence_is_that_of_the_cpu(kw, x):
    pipe = make_pipeline(size=48, backend='torch', seed=4, **kw)
    plan = pipe.plan(len(x), (64,64))
    close(run(x.to(DEVICE), plan, pipe), run(x, plan, pipe))


@pytest.mark.parametrize('name', [o for o in NAMES if o not in ('flip','horizontal_flip','vertical_flip','gray')])
def test_every_image_has_its_own_draws(name, x):
    "And the second of two views others"
    same = x[:1].expand(16, 3, 64, 64).to(DEVICE)
    a,b = two_views(same, make_pipeline(name, 48, p=1))
    views = torch.cat([a,b]).flatten(1)
    assert len(views.unique(dim=0))>16 # boxes are whole pixels, and the narrowest blurs change nothing


@pytest.mark.parametrize('name', ['flip','gray'])
def test_chances_are_per_image(name, x):
    same = x[:1].expand(200, 3, 64, 64).to(DEVICE)
    first = make_pipeline(name, 64, p=.5)(same).flatten(1)
    share = (first==same.flatten(1)).all(1).float().mean()
    assert .02<share<.98


@pytest.mark.parametrize('name', sorted(NOISY))
def test_noise_has_the_width_of_the_cpu(name):
    gray = torch.full((256,3,32,32), .5)
    a,b = ((make_pipeline(name, 32, p=1, backend='torch', seed=5)(gray.to(d))-.5).cpu() for d in (DEVICE,'cpu'))
    assert abs(a.mean())<.002
    torch.testing.assert_close(a.std(dim=(1,2,3)), b.std(dim=(1,2,3)), rtol=.1, atol=1e-3) # the same widths, image by image
    assert not torch.equal(a[0],a[1])


def test_bytes_and_floats_give_the_same_views(galaxies, x):
    raw = torch.from_numpy(galaxies).permute(0,3,1,2).to(DEVICE)
    a,b = (make_pipeline(size=48, seed=6, **SIMCLR)(o) for o in (raw,x.to(DEVICE)))
    assert a.dtype==torch.float32
    close(a, b, 1e-5, 1e-6)


def test_a_seed_gives_the_same_views_again(x):
    y = x.to(DEVICE)
    a,b = (make_pipeline('rotation,crop_resize,gaussian_noise', 48, seed=7)(y) for _ in range(2))
    close(a, b, 1e-5, 1e-6)

# ---------------------------------------------------------------- losses

def slow_nt_xent(z1, z2, t):
    "Equation by equation, in float64 on the CPU"
    z = F.normalize(torch.cat([z1,z2]).double().cpu(), dim=1)
    m,total = len(z),0
    s = z@z.T/t
    for i in range(m):
        others = torch.cat([s[i,:i],s[i,i+1:]])
        total = total+torch.logsumexp(others, 0)-s[i,(i+m//2)%m]
    return total/m


@pytest.mark.parametrize('n,t', [(2,.5),(60,.1),(200,.5)])
def test_nt_xent_is_that_of_float64(n, t):
    g = torch.Generator().manual_seed(0)
    z = [torch.randn(n, 128, generator=g) for _ in range(2)]
    ours,slow = ([o.clone().to(d,k).requires_grad_() for o in z] for d,k in ((DEVICE,torch.float32),('cpu',torch.float64)))
    a,b = nt_xent(*ours, t),slow_nt_xent(*slow, t)
    a.backward()
    b.backward()
    torch.testing.assert_close(a.detach().cpu().double(), b.detach(), rtol=1e-5, atol=1e-6)
    for p,q in zip(ours,slow): torch.testing.assert_close(p.grad.cpu().double(), q.grad, rtol=1e-3, atol=1e-6)


def test_nt_xent_in_blocks_and_under_autocast(monkeypatch):
    "A batch of many blocks; half precision around it changes nothing"
    a,b = (torch.randn(300, 64, device=DEVICE) for _ in range(2))
    whole = nt_xent(a, b)
    monkeypatch.setattr('galaxy_ssl.simclr.BLOCK', 600*7)
    torch.testing.assert_close(nt_xent(a, b), whole, rtol=1e-5, atol=1e-6)
    with torch.autocast(DEVICE, torch.bfloat16): torch.testing.assert_close(nt_xent(a, b), whole, rtol=1e-5, atol=1e-6)


def test_contrastive_accuracy_there():
    z = torch.randn(50, 32, device=DEVICE)
    assert contrastive_accuracy(torch.cat([z,z+.01]))==1
    assert contrastive_accuracy(torch.randn(400, 32, device=DEVICE))<.1

# ---------------------------------------------------------------- simulated images

@pytest.mark.parametrize('kind', sorted(INSTRUMENTS))
def test_simulated_images_are_those_of_the_cpu(kind):
    "Within 2 counts of 255, and within 1 on 999 of 1,000 pixels"
    a,b = (simulate_images(kind, np.arange(40)%10, seed=2, device=o).astype(int) for o in (DEVICE,'cpu'))
    d = np.abs(a-b)
    assert d.max()<=2 and (d>1).mean()<1e-3


def test_a_stream_on_the_device():
    "Its images lie there, differ from one another, and come again with the same seed"
    from galaxy_ssl.survey.stream import GalaxyStream
    first = [next(iter(GalaxyStream(seed=1, device=DEVICE))) for _ in range(2)]
    images,recipes,properties = first[0]
    assert images.device.type==DEVICE and images.dtype==torch.uint8 and images.shape[1:]==(3,64,64)
    assert torch.equal(images, first[1][0]) and torch.equal(recipes, first[1][1])
    assert len(images.flatten(1).unique(dim=0))==len(images) and images.float().std()>5
    known = properties[~properties.isnan()]
    assert len(known) and known.isfinite().all()
    assert not torch.equal(images, next(iter(GalaxyStream(seed=2, device=DEVICE)))[0])

def test_masks_there():
    "Exact in number, another one for each image, hidden and visible patches apart"
    keep,mask = random_mask(50, 64, .75, DEVICE)
    assert keep.device.type==mask.device.type==DEVICE
    assert (mask.sum(1)==48).all() and len(keep.unique(dim=0))==50
    assert (torch.cat([keep,hidden_ids(mask, 48)], 1).sort(1).values==torch.arange(64, device=DEVICE)).all()


def test_dino_loss_is_that_of_float64():
    g = torch.Generator().manual_seed(0)
    s,t = torch.randn(5*4,32,generator=g),torch.softmax(torch.randn(2*4,32,generator=g), 1)
    logs = torch.log_softmax(s.double()/.1, 1).view(5,4,32)
    slow = [-(t.double().view(2,4,32)[i]*logs[v]).sum(1).mean() for i in range(2) for v in range(5) if v!=i]
    assert torch.allclose(dino_loss(s.to(DEVICE), t.to(DEVICE)).cpu().double(), torch.stack(slow).mean(), atol=1e-4)

# ---------------------------------------------------------------- training

def learner(method, galaxies, **kwargs):
    "A small one of a method, seeded"
    set_seed(0)
    if method=='simulated':
        from galaxy_ssl.simulated import simulated_dls, simulated_learner
        return simulated_learner(simulated_dls(n=128, bs=32, size=32, device=DEVICE), **kwargs)
    survey = Survey(galaxies, np.full(len(galaxies),-1), [], simulated=True)
    dls = survey_dls(survey, np.arange(48), np.arange(48,64), bs=16, device=DEVICE)
    if method in ('mae','dino'):
        make,pool = dict(mae=(mae_learner,'avg'), dino=(dino_learner,'token'))[method]
        return make(dls, create_encoder('vit_tiny_patch8', size=64, pool=pool), **kwargs)
    return dict(simclr=simclr_learner, autoencoder=autoencoder_learner)[method](dls, create_encoder(), **kwargs)


@pytest.mark.parametrize('method', ['simclr','autoencoder','mae','dino','simulated'])
def test_training_there(method, galaxies):
    "Losses are finite and fall, the weights stay on the device"
    learn = learner(method, galaxies, lr=1e-3)
    with fit_status(learn): learn.fit(4 if DEVICE=='cuda' else 2)
    loss = recorder_df(learn).train_loss
    assert np.isfinite(loss).all()
    if method!='dino': assert loss.iloc[-1]<loss.iloc[0]   # what the teacher says changes, and its sharpness
    assert all(p.device.type==DEVICE and p.isfinite().all() for p in learn.model.parameters())


class Stop(Callback):
    "Interrupt a training after so many epochs"
    order = 100
    def __init__(self, epochs): self.epochs = epochs
    def after_epoch(self):
        if self.epoch+1==self.epochs: raise KeyboardInterrupt


@pytest.mark.parametrize('method', ['simclr','mae','dino','simulated'])
def test_an_interrupted_training_goes_on(method, galaxies, tmp_path):
    "To the weights of one that was not interrupted, as far as kernels of a GPU repeat themselves"
    def fit(path, *cbs):
        learn = learner(method, galaxies, lr=1e-3, cbs=[Checkpoint(tmp_path/path, every=0), *cbs])
        torch.backends.cudnn.deterministic = True
        with fit_status(learn): learn.fit_cosine(3)
        return learn
    whole = fit('a.ckpt')
    with pytest.raises(KeyboardInterrupt): fit('b.ckpt', Stop(2))
    assert list(tmp_path.glob('b.*.ckpt'))
    again = fit('b.ckpt')
    a,b = (recorder_df(o).train_loss.values for o in (whole,again))
    np.testing.assert_allclose(a, b, rtol=.05 if DEVICE=='cuda' else 1e-4)
    assert not list(tmp_path.glob('b.*.ckpt'))
