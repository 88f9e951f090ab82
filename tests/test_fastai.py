"fastai's protocol as for any Learner, learners after errors and interrupts, and small or odd data. Toy images, no network."
import copy, io, os, pickle, random, subprocess, sys
from functools import partial
from operator import attrgetter
from pathlib import Path
import h5py, matplotlib; matplotlib.use('Agg')
import matplotlib.pyplot as plt, numpy as np, pytest, torch
from PIL import Image
from torch import nn
from fastai.basics import Callback, CrossEntropyLossFlat, DataLoader, DataLoaders
from fastai.callback.mixup import CutMix, MixUp
from fastai.callback.schedule import lr_find
from fastai.interpret import ClassificationInterpretation, Interpretation
from fastai.learner import load_learner
from fastai.vision.core import PILImage
from galaxy_ssl.autoencoder import ResNetDecoder, autoencoder_learner
from galaxy_ssl.augment import make_pipeline
from galaxy_ssl.base.encoders import check_encoder, create_encoder, load_encoder, save_encoder
from galaxy_ssl.base.metrics import plot_confusion, score_predictions
from galaxy_ssl.base.checkpoints import Checkpoint, FiniteLoss, checkpoint_files
from galaxy_ssl.base.training import Autocast, BestEpoch, LossOnDevice, StatusCallback, ValidateLast, WeightAverage, fit_status, reproducible
from galaxy_ssl.baseline import classifier_learner, evaluate
from galaxy_ssl.data import Survey, get_survey, make_splits, survey_dls
from galaxy_ssl.simclr import SimCLR, simclr_learner

SIZE,CLASSES = 16,['round','disk','edge-on']
MODES = ['supervised','linear','finetune']

def galaxies(n=60, size=SIZE, k=3, seed=0):
    "Toy galaxies of k elongations, at any angle"
    rng,y = np.random.default_rng(seed),np.arange(n)%k
    g = np.mgrid[:size,:size]-size/2+.5
    def one(c):
        th,q = rng.uniform(0,np.pi),[1,.5,.2][c%3]
        u,v = g[1]*np.cos(th)+g[0]*np.sin(th),(g[0]*np.cos(th)-g[1]*np.sin(th))/q
        f = np.exp(-np.hypot(u,v)/size*9)
        return np.clip(f[...,None]*[230,200,150]+rng.normal(12,4,(size,size,3)),0,255).astype(np.uint8)
    return np.stack([one(c) for c in y]),y

class Tiny(nn.Module):
    "A small encoder, which can be made to fail"
    num_features = 8
    def __init__(self, stride=2):
        super().__init__()
        self.conv,self.norm = nn.Conv2d(3,8,3,stride=stride,padding=1),nn.BatchNorm2d(8)
    def forward(self, x):
        trap('forward' if self.training else 'forward in eval')
        return self.norm(Backward.apply(self.conv(x))).relu().mean((2,3))

class Backward(torch.autograd.Function):
    "Fails on the way back"
    @staticmethod
    def forward(ctx, x): return x.clone()
    @staticmethod
    def backward(ctx, g): trap('backward'); return g

ARMED = dict(place=None, exc=None)
def trap(place):
    if ARMED['place']==place: raise ARMED['exc']

@pytest.fixture(autouse=True)
def disarm():
    ARMED.update(place=None)
    yield
    plt.close('all')

@pytest.fixture(scope='module')
def survey():
    ims,y = galaxies()
    return Survey(ims, y, CLASSES, name='toy', ids=[f'{i}.png' for i in range(len(y))])

@pytest.fixture(scope='module')
def splits(survey): return make_splits(survey.labels)

def small(make, size=SIZE):
    "An encoder and a decoder for a pre-training that takes no time"
    return dict(encoder=Tiny()) | (dict(decoder=ResNetDecoder(8, size, widths=(8,8), depth=1)) if make is autoencoder_learner else {})
def loaders(survey, splits, **kw): return survey_dls(survey, splits.train, splits.valid, bs=16, device='cpu', **kw)
def quiet(learn, n=1, **kw):
    with learn.no_bar(), learn.no_logging(): learn.fit(n, **kw)
    return learn

@pytest.fixture(scope='module')
def learners(survey, splits, tmp_path_factory):
    d = tmp_path_factory.mktemp('learners')
    return {m:quiet(classifier_learner(loaders(survey, splits), Tiny(), m, path=d)) for m in MODES}

def one_sentence(e): assert '\n' not in str(e.value) and 'Exception occured' not in str(e.value), str(e.value)

# ---------------------------------------------------------------- after an error or an interrupt

class Trap(Callback):
    "Fails in an event"
    def __init__(self, event, order): self.order = order; setattr(self, event, lambda: trap(event))

class FailingLoss(CrossEntropyLossFlat):
    def __call__(self, *args, **kw): trap('loss'); return super().__call__(*args, **kw)
def failing_metric(p, y): trap('metric'); return (p.argmax(1)==y).float().mean()

def switches():
    "Whatever holds for the whole process"
    return (torch.is_autocast_enabled('cpu'), torch.is_autocast_enabled('cuda'), torch.get_num_threads(), torch.is_grad_enabled(),
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark, sys.getswitchinterval(), (torch.randn(4,4)@torch.randn(4,4)).dtype)

CALLS = dict(fit=lambda l: l.fit(2), one_cycle=lambda l: l.fit_one_cycle(2), lr_find=lambda l: l.lr_find(num_it=6, show_plot=False), validate=lambda l: l.validate(),
             get_preds=lambda l: l.get_preds(), tta=lambda l: l.tta(n=1), predict=lambda l: l.predict(galaxies(1)[0][0]))
TRAINING = [('forward',['fit','one_cycle','lr_find']), ('loss',['fit','validate','lr_find']), ('backward',['fit','lr_find']), ('metric',['fit','validate']),
            ('forward in eval',['fit','validate','get_preds','tta','predict']),
            *[(o,['fit','get_preds']) for o in ('before_batch','after_pred','after_batch','after_epoch','before_validate')],
            *[(o,['fit']) for o in ('before_epoch','before_train','after_loss','before_backward','before_step','after_step','after_train')]]

def guarded(survey, splits, tmp, place, mode='supervised'):
    "A learner with all callbacks, which fails at a place"
    cbs = [WeightAverage(.5), BestEpoch('failing_metric'), Checkpoint(tmp/'kept.ckpt', every=0), Autocast(True) if mode=='linear' else None]
    cbs = [o for o in cbs if o]
    if place[:3] in ('bef','aft'): cbs += [Trap(place, -50), Trap(place, 200)][place!='after_pred':][:1]
    with reproducible():
        torch.manual_seed(0)
        l = classifier_learner(loaders(survey, splits), Tiny(), mode, autocast=True, metrics=failing_metric, loss_func=FailingLoss(), path=tmp, cbs=cbs)
    l.loss_on_device.enabled = True
    return l

@pytest.mark.parametrize('exc', [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize('place,call', [(p,c) for p,calls in TRAINING for c in calls])
def test_an_error_leaves_nothing_switched(survey, splits, tmp_path, place, call, exc):
    l = guarded(survey, splits, tmp_path, place)
    before = switches()
    ARMED.update(place=place, exc=exc('stop'))
    with l.no_bar(), l.no_logging():
        with pytest.raises(exc): CALLS[call](l)
        ARMED.update(place=None)
        assert switches()==before
        assert not l.lock.locked()
        assert all('forward' not in o.__dict__ for o in l.model.modules())
        pickle.dumps(l.model); copy.deepcopy(l.model)
        preds,targs = l.get_preds()                                # usable at once
        assert preds.dtype==torch.float32 and torch.isfinite(preds).all()
        l.validate()
        l.fit(2)                                                   # and a second fit
    assert len(l.recorder.values)==2 and l.best_epoch.best_epoch in (0,1)
    assert not checkpoint_files(tmp_path/'kept.ckpt') and switches()==before

def test_looking_at_a_stopped_training_keeps_its_checkpoint(survey, splits, tmp_path):
    l = guarded(survey, splits, tmp_path, '')
    class Third(Callback):
        def before_train(self):
            if self.epoch==2: raise KeyboardInterrupt
    with l.no_bar(), l.no_logging():
        with pytest.raises(KeyboardInterrupt): l.fit(4, cbs=Third())
        kept = checkpoint_files(tmp_path/'kept.ckpt')
        for f in ('validate','get_preds','tta','lr_find','predict'): CALLS[f](l)
        assert checkpoint_files(tmp_path/'kept.ckpt')==kept and len(kept)>=2
        l.fit(4)
    assert l.checkpoint.first==2 and len(l.recorder.values)==4

@pytest.mark.parametrize('exc', [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize('make', [simclr_learner, autoencoder_learner])
def test_pretraining_after_an_error(survey, splits, make, exc):
    l = make(loaders(survey, splits), **small(make), autocast=True, cbs=[WeightAverage(.5), BestEpoch()])
    before = switches()
    class Stop(Callback):
        def after_batch(self):
            if self.training and self.iter==1: raise exc('stop')
    class StopInModel(Callback):
        order = Autocast.order+1
        def before_batch(self): raise exc('stop')
    with fit_status(l, 'toy'):
        for cb in (Stop(), StopInModel()):
            with pytest.raises(exc): l.fit(1, cbs=cb)
            assert switches()==before
    assert l.logger is print and hasattr(l,'progress')
    quiet(l)
    assert len(l.recorder.values)==1

def test_status_leaves_the_logger(survey, splits):
    l = classifier_learner(loaders(survey, splits), Tiny())
    class Stop(Callback):
        def after_step(self): raise KeyboardInterrupt
    with l.no_bar():
        with pytest.raises(KeyboardInterrupt): l.fit(1, cbs=[StatusCallback('toy'),Stop()])
    assert l.logger is print

def test_validation_is_not_skipped_after_an_interrupt(survey, splits):
    l = classifier_learner(loaders(survey, splits), Tiny(), cbs=ValidateLast())
    class Stop(Callback):
        def after_step(self): raise KeyboardInterrupt
    with l.no_bar(), l.no_logging():
        with pytest.raises(KeyboardInterrupt): l.fit(3, cbs=Stop())
        assert np.isfinite(l.validate()).all() and len(l.get_preds()[0])==len(splits.valid)

@pytest.mark.parametrize('exc', [RuntimeError, KeyboardInterrupt])
def test_seeds_end_with_their_block(exc):
    random.seed(1); np.random.seed(1); torch.manual_seed(1)
    draws = lambda: (random.random(), np.random.rand(), torch.rand(1).item(), torch.backends.cudnn.deterministic)
    first = draws()
    random.seed(1); np.random.seed(1); torch.manual_seed(1)
    with pytest.raises(exc):
        with reproducible(): random.seed(9); np.random.seed(9); torch.manual_seed(9); raise exc
    assert draws()==first

def test_losses_are_at_hand_after_an_interrupt(survey, splits):
    "On a GPU they are fetched when an epoch ends, however it ends"
    l = classifier_learner(loaders(survey, splits), Tiny())
    l.loss_on_device.enabled,fetched = True,[]
    fetch = l.loss_on_device._fetch
    l.loss_on_device._fetch = lambda: fetched.append(1) or fetch()
    class Stop(Callback):
        def after_step(self): raise KeyboardInterrupt
    with l.no_bar(), l.no_logging(), pytest.raises(KeyboardInterrupt): l.fit(1, cbs=Stop())
    assert fetched

# ---------------------------------------------------------------- predict

def png(a):
    b = io.BytesIO(); Image.fromarray(a).save(b,'PNG')
    return b.getvalue()

@pytest.fixture(scope='module')
def files(tmp_path_factory, survey):
    d = tmp_path_factory.mktemp('files')
    im = survey.images[7]
    (d/'a b é.png').write_bytes(png(im))
    Image.fromarray(im).save(d/'a.tif')
    Image.fromarray(im.repeat(3,0).repeat(3,1)).save(d/'large.png')
    Image.fromarray(np.pad(im.repeat(2,0).repeat(2,1), ((0,0),(6,6),(0,0)))).save(d/'wide.png')
    Image.fromarray(im[...,0]).save(d/'gray.png')
    (d/'broken.png').write_bytes(png(im)[:200])
    (d/'empty.png').write_bytes(b'')
    (d/'flux.fits').write_bytes(b'SIMPLE  =')
    return d

same = lambda im,d: [im, im.transpose(2,0,1), im[None], im/255, (im/255).astype(np.float32), im.astype(int), torch.from_numpy(im).permute(2,0,1), torch.from_numpy(im).permute(2,0,1)/255,
    torch.from_numpy(im).permute(2,0,1).bfloat16()/255, torch.from_numpy(im), Image.fromarray(im), Image.fromarray(im).convert('RGBA'), PILImage.create(im), d/'a b é.png', str(d/'a b é.png'), d/'a.tif', d/'large.png',
    d/'wide.png', np.ascontiguousarray(im[::-1])[::-1], im.repeat(2,0).repeat(2,1), 7, png(im)]

@pytest.mark.parametrize('mode', MODES)
def test_predict_takes_an_image_in_any_form(learners, survey, files, mode):
    l,im = learners[mode],survey.images[7]
    with l.no_bar():
        name,i,p = l.predict(im)
        assert name==CLASSES[i] and i==p.argmax() and p.shape==(3,) and abs(p.sum()-1)<1e-5
        for k,o in enumerate(same(im, files)):
            if k==8: continue                                                  # rounded
            n2,i2,p2 = l.predict(o)
            assert (n2,int(i2))==(name,int(i)) and torch.allclose(p2, p, atol=1e-5), k
        gray = np.repeat(im[...,:1],3,2)
        for o in (im[...,0], torch.from_numpy(im[...,0]), Image.fromarray(im[...,0]), files/'gray.png'): assert torch.allclose(l.predict(o)[2], l.predict(gray)[2], atol=1e-5)

@pytest.mark.parametrize('what,says', [
    (lambda d,im: d/'none.png', 'cannot be read'), (lambda d,im: d/'broken.png', 'cut short'), (lambda d,im: d/'empty.png', 'is empty'), (lambda d,im: d/'flux.fits', 'FITS'),
    (lambda d,im: d, 'is a folder'), (lambda d,im: None, 'got a NoneType'), (lambda d,im: {}, 'got a dict'), (lambda d,im: im*2., 'floats from 0 (black) to 1 (white)'),
    (lambda d,im: im.astype(np.uint16)*200, 'as uint16'), (lambda d,im: np.full((8,8,3),np.nan), 'NaN'), (lambda d,im: np.zeros((4,8,8,3),np.uint8), 'got shape (4, 8, 8, 3)'),
    (lambda d,im: np.zeros((8,8,5)), 'got shape (8, 8, 5)'), (lambda d,im: 99, 'must lie in 0 to 59'), (lambda d,im: -1, 'must lie in 0 to 59'), (lambda d,im: 1.5, 'got a float'), (lambda d,im: np.array(1.5), 'whole numbers'),
    (lambda d,im: np.zeros((0,0,3)), 'must hold pixels'), (lambda d,im: im>100, 'must hold numbers, got bool'), (lambda d,im: Image.fromarray(im[...,0].astype(np.float32)), '32-bit')])
@pytest.mark.parametrize('mode', ['supervised','linear'])
def test_predict_refuses_in_words(learners, survey, files, mode, what, says):
    l = learners[mode]
    with l.no_bar(), pytest.raises((ValueError,FileNotFoundError)) as e: l.predict(what(files, survey.images[7]))
    assert says in str(e.value)
    one_sentence(e)

# ---------------------------------------------------------------- test sets

@pytest.mark.parametrize('mode', MODES)
def test_test_sets(learners, survey, splits, files, mode, tmp_path):
    l,t = learners[mode],splits.test
    ims = survey.images[t]
    with l.no_bar():
        want,targs = l.get_preds(dl=l.dls.test_dl(t))
        assert targs.tolist()==survey.labels[t].tolist()
        for o in (t.tolist(), torch.from_numpy(t), ims, ims/255, torch.from_numpy(ims).permute(0,3,1,2), list(ims), survey.subset(t), [Image.fromarray(o) for o in ims]):
            assert torch.allclose(l.get_preds(dl=l.dls.test_dl(o))[0], want, atol=1e-5)
        for i,o in enumerate(ims): (tmp_path/f'{i:02d}.png').write_bytes(png(o))
        paths = sorted(tmp_path.iterdir())
        for o in (paths, list(map(str,paths)), tmp_path, str(tmp_path)): assert torch.allclose(l.get_preds(dl=l.dls.test_dl(o))[0], want, atol=1e-5)
        assert len(l.get_preds(dl=l.dls.test_dl(paths[0]))[0])==1
        mixed = l.dls.test_dl([files/'wide.png', survey.images[7], files/'large.png'])
        assert torch.allclose(l.get_preds(dl=mixed)[0], l.get_preds(dl=l.dls.test_dl([7,7,7]))[0], atol=1e-5)

@pytest.mark.parametrize('mode', MODES)
def test_test_sets_with_labels(learners, survey, splits, mode):
    dls = learners[mode].dls
    assert dls.test_dl(splits.test, with_labels=True).one_batch()[1].tolist()==survey.labels[splits.test].tolist()
    for o in (survey.images[:3], survey.subset(range(5)).without_labels()):
        with pytest.raises(ValueError, match='needs images with labels') as e: dls.test_dl(o, with_labels=True)
        one_sentence(e)

@pytest.mark.parametrize('mode', MODES)
def test_evaluate(learners, survey, splits, mode):
    l = learners[mode]
    ev = evaluate(l, l.dls.test_dl(splits.test))
    preds = l.get_preds(dl=l.dls.test_dl(splits.test))[0]
    assert ev['confusion']==score_predictions(preds, survey.labels[splits.test], CLASSES)['confusion']
    assert evaluate(l, l.dls.valid)['n']==len(splits.valid)==evaluate(l, l.dls[1])['n']
    other = Survey(survey.images[:6], survey.labels[:6], CLASSES[::-1])
    for dl,says in ((l.dls.test_dl(other),'classes that the classifier was trained on'), (l.dls.test_dl(survey.images[:4]),'of 4 without a label'),
                    (l.dls.test_dl(Survey(survey.images[:4], [0,1,-1,-1], CLASSES)),'2 of 4 without a label')):
        with pytest.raises(ValueError, match=says) as e: evaluate(l, dl)
        one_sentence(e)

# ---------------------------------------------------------------- export and pickle

FRESH = """
import sys, warnings; warnings.simplefilter('ignore')
from fastai.learner import load_learner
for f in sys.argv[2:]:
    l = load_learner(f)
    with l.no_bar(): name,i,p = l.predict(sys.argv[1])
    print(name, int(i), *[f'{o:.6f}' for o in p], list(l.dls.vocab), len(l.dls.train_ds), sep='|')
"""

def test_export(survey, splits, files, tmp_path):
    want = []
    for mode in MODES:
        l = quiet(classifier_learner(loaders(survey, splits), create_encoder('test_vit', size=SIZE), mode, path=tmp_path))
        before,weights = l.dls,sum(o.nbytes for o in l.model.state_dict().values())
        l.export(f'{mode}.pkl')
        data = (tmp_path/f'{mode}.pkl').read_bytes()
        assert l.dls is before and len(data)<weights+150_000
        assert survey.images[3].tobytes() not in data and survey.images[0,:2].tobytes() not in data
        with l.no_bar(): want.append(l.predict(files/'large.png'))
    r = subprocess.run([sys.executable,'-c',FRESH,str(files/'large.png'),*(str(tmp_path/f'{m}.pkl') for m in MODES)], capture_output=True, text=True)
    assert r.returncode==0, r.stderr
    for line,(name,i,p) in zip(r.stdout.strip().split('\n'), want, strict=True):
        got = line.split('|')
        assert got[:2]==[name,str(int(i))] and np.allclose([float(o) for o in got[2:5]], p, atol=1e-5) and got[5:]==[str(CLASSES),'0']

@pytest.mark.parametrize('make', [simclr_learner, autoencoder_learner])
def test_export_of_pretraining(survey, splits, tmp_path, make):
    l = quiet(make(loaders(survey, splits), **small(make), path=tmp_path))
    l.export('p.pkl')
    assert survey.images[3].tobytes() not in (tmp_path/'p.pkl').read_bytes()
    with pytest.warns(UserWarning): back = load_learner(tmp_path/'p.pkl')
    x = torch.rand(2,3,SIZE,SIZE)
    assert torch.allclose(back.model.encoder.eval()(x), l.model.encoder.eval()(x), atol=1e-6)
    dl = back.dls.test_dl(survey.images[:8])
    assert dl.one_batch()[0].shape==(8,3,SIZE,SIZE)

@pytest.mark.parametrize('augment', [None, make_pipeline('rotation,flip', size=SIZE)])
def test_export_with_augmentation_and_size(survey, splits, tmp_path, augment):
    l = quiet(classifier_learner(loaders(survey, splits, size=SIZE+4, augment=augment), Tiny(), path=tmp_path))
    l.export()
    with pytest.warns(UserWarning): back = load_learner(tmp_path/'export.pkl')
    with l.no_bar(), back.no_bar(): assert torch.allclose(back.predict(survey.images[0])[2], l.predict(survey.images[0])[2], atol=1e-5)

def h5_survey(path, survey):
    with h5py.File(path,'w') as f:
        f['images'],f['ans'] = survey.images,survey.labels
        f['ra'],f['dec'] = np.arange(len(survey))*.1,np.zeros(len(survey))
        f.attrs['classes'] = survey.classes
    return get_survey(path)

@pytest.mark.parametrize('again', [lambda s: pickle.loads(pickle.dumps(s)), copy.deepcopy, copy.copy, lambda s: pickle.loads(pickle.dumps(s, protocol=2))])
@pytest.mark.parametrize('kind', ['memory','map','part of a map','subset'])
def test_pickle_of_a_survey(survey, tmp_path, kind, again):
    s = survey if kind=='memory' else h5_survey(tmp_path/'s.h5', survey)
    if kind=='part of a map': s = Survey(s.images[7:40], s.labels[7:40], s.classes, 'part')
    if kind=='subset': s = s.subset([5,3,1])
    b = again(s)
    assert b.fingerprint==s.fingerprint and b.ids==s.ids and b.table.equals(s.table) and b.classes==s.classes and repr(b)==repr(s)
    if kind in ('map','part of a map'): assert isinstance(b.images, np.memmap) and len(pickle.dumps(s))<20_000

@pytest.mark.parametrize('fault,says', [(lambda f: f.unlink(), 'which is missing; put the file back'), (lambda f: f.write_bytes(f.read_bytes()+b'0'), 'has changed since'), (lambda f: os.utime(f, ns=(1,1)), 'has changed since')])
def test_a_pickled_survey_whose_file_is_another(survey, tmp_path, fault, says):
    p = pickle.dumps(h5_survey(tmp_path/'s.h5', survey))
    fault(tmp_path/'s.h5')
    with pytest.raises((ValueError,FileNotFoundError), match=says) as e: pickle.loads(p)
    one_sentence(e)

def test_a_survey_in_a_spawned_process(survey, tmp_path):
    from multiprocessing import get_context
    with get_context('spawn').Pool(1) as pool: got = pool.map(attrgetter('fingerprint'), [h5_survey(tmp_path/'s.h5', survey)])
    assert got==[survey.fingerprint]

# ---------------------------------------------------------------- the rest of the protocol

@pytest.mark.parametrize('mode', MODES)
def test_tta(learners, splits, mode):
    l = learners[mode]
    with l.no_bar():
        for kw in (dict(n=2), dict(n=1, use_max=True), dict(n=2, dl=l.dls.test_dl(splits.test))):
            p,y = l.tta(**kw)
            n = len(splits.test if 'dl' in kw else splits.valid)
            assert p.shape==(n,3) and y.shape==(n,) and torch.isfinite(p).all()
        aug,plain = l.tta(n=2, beta=None)[0]
        assert torch.allclose(plain, l.get_preds()[0], atol=1e-5) and not torch.allclose(aug, plain, atol=1e-7)
        p,y = l.tta(ds_idx=0, n=1)
        assert p.shape==(len(splits.train),3)

def test_tta_uses_the_augmentation_of_training(survey, splits):
    black = lambda x: x*0
    l = classifier_learner(loaders(survey, splits, augment=black), Tiny())
    with l.no_bar():
        aug,plain = l.tta(n=2, beta=None)[0]
        assert torch.allclose(aug, aug[:1].expand_as(aug)) and torch.allclose(plain, l.get_preds()[0], atol=1e-6)
        aug,plain = l.tta(ds_idx=0, n=1, beta=None)[0]
        assert torch.allclose(aug, aug[:1].expand_as(aug)) and plain.std(0).max()>1e-6

@pytest.mark.parametrize('mode', MODES)
def test_interpretation(learners, survey, splits, mode, capsys):
    l = learners[mode]
    with l.no_bar():
        interp = ClassificationInterpretation.from_learner(l)
        cm = interp.confusion_matrix()
        assert cm.sum()==len(splits.valid) and list(interp.vocab)==CLASSES
        losses,idx,items = interp.top_losses(4, items=True)
        assert len(items)==4 and (items.idx==splits.valid[idx.numpy()]).all()
        assert torch.allclose(interp[idx][0].mean((1,2,3)), torch.from_numpy(survey.images[items.idx]/255).mean((1,2,3)).float(), atol=1e-5)
        interp.plot_top_losses(4, nrows=1); plt.gcf().canvas.draw()
        titles = [a.get_title() for a in plt.gcf().axes][:4]
        y = survey.labels[items.idx]
        assert [t.split('/')[1].strip() for t in titles]==[CLASSES[i] for i in y]
        interp.plot_confusion_matrix(); plt.gcf().canvas.draw()
        assert all(len(o)==3 for o in interp.most_confused())
        interp.print_classification_report()
        assert 'edge-on' in capsys.readouterr().out
        interp.show_results([0,1])
        Interpretation.from_learner(l, dl=l.dls.test_dl(splits.test)).plot_top_losses(2)

@pytest.mark.parametrize('mode', MODES)
def test_figures(learners, mode):
    l = learners[mode]
    with l.no_bar():
        l.show_results(max_n=4); l.show_results(ds_idx=0, max_n=2, figsize=(3,2))
        l.dls.show_batch(max_n=4); l.dls.show_batch(max_n=4, nrows=1, unique=True); l.dls.valid.show_batch(max_n=2)
    plt.gcf().canvas.draw()

@pytest.mark.parametrize('mode', MODES)
def test_loaders(learners, survey, splits, mode):
    dls = learners[mode].dls
    assert (dls.c,list(dls.vocab),len(dls.train_ds),len(dls.valid_ds),dls.bs) == (3,CLASSES,len(splits.train),len(splits.valid),16)
    x,y = dls.one_batch()
    assert len(x)==len(y)==16 and len(dls.train_ds[0])==2
    assert dls.to(torch.device('cpu')).device==torch.device('cpu') and dls.cpu() is dls and dls.cuda() is dls
    dls.cpu()
    assert len(dls.new_empty().train_ds)==0
    assert len(dls.valid.new(shuffle=True).one_batch()[0])==len(splits.valid)

@pytest.mark.parametrize('mode', MODES)
def test_predictions(learners, splits, mode):
    l = learners[mode]
    n = len(splits.valid)
    with l.no_bar():
        x,p,y,d,loss = l.get_preds(with_input=True, with_decoded=True, with_loss=True)
        assert x.shape==(n,3,SIZE,SIZE) and p.shape==(n,3) and (d==p.argmax(1)).all() and torch.allclose(loss, nn.functional.nll_loss(p.log(), y, reduction='none'), atol=1e-4)
        assert np.isclose(l.validate()[0], loss.mean(), atol=1e-5)
        assert len(l.get_preds(ds_idx=0)[0])==len(splits.train)

@pytest.mark.parametrize('mode', MODES)
def test_training_tools(survey, splits, mode, tmp_path):
    l = classifier_learner(loaders(survey, splits), Tiny(), mode, path=tmp_path)
    with l.no_bar(), l.no_logging():
        assert l.lr_find(num_it=6, show_plot=False, suggest_funcs=None) is None
        l.fine_tune(1)
        if mode=='finetune': l.freeze(); assert not l.opt.all_params()[0][3].get('grad_skip', False)
        l.unfreeze(); l.fit_one_cycle(1); l.fit_flat_cos(1)
        w = copy.deepcopy(l.model.state_dict())
        l.save('w'); l.fit(1); l.load('w')
        assert all(torch.equal(a,b) for a,b in zip(w.values(), l.model.state_dict().values()))
        assert 'Total params' in str(l.summary())
        for cb in (MixUp(), CutMix())[:2 if mode!='linear' else 1]: l.fit(1, cbs=cb)
    l.recorder.plot_loss()

def test_hooks(learners, survey):
    "As for a GradCAM"
    from fastai.callback.hook import hook_output
    l = learners['supervised']
    x = l.dls.test_dl([0]).one_batch()[0]
    with hook_output(l.model.encoder.conv) as h, hook_output(l.model.encoder.conv, grad=True) as g:
        l.model.eval()(x)[0,1].backward()
    assert h.stored.shape==g.stored[0].shape==(1,8,SIZE//2,SIZE//2)

def test_dls_of_other_makes(survey, splits):
    "A linear learner of any DataLoaders"
    x,y = torch.from_numpy(survey.images).permute(0,3,1,2)/255,torch.from_numpy(survey.labels)
    ds = torch.utils.data.TensorDataset(x,y)
    dls = DataLoaders(DataLoader(ds, bs=16, shuffle=True), DataLoader(ds, bs=16))
    dls.vocab,dls.c = CLASSES,3
    for mode in MODES:
        l = quiet(classifier_learner(dls, Tiny(), mode))
        with l.no_bar(): assert l.get_preds()[0].shape==(60,3)

# ---------------------------------------------------------------- small and odd

def test_numbers_are_those_of_autocast_alone(survey, splits):
    "The callback is a context around the model's forward pass, bit for bit"
    l = classifier_learner(loaders(survey, splits), Tiny(), autocast=True)
    x = l.dls.test_dl(splits.test).one_batch()[0].as_subclass(torch.Tensor)
    with l.no_bar(): got = l.get_preds(dl=l.dls.test_dl(splits.test))[0]
    l.model.eval()
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16): want = l.model(x)
    assert want.dtype==torch.bfloat16 and torch.equal(got, want.float().softmax(1))

@pytest.mark.parametrize('n,bs,works', [(17,16,True),(5,1,False),(1,64,False),(2,64,True),(3,2,True)])
def test_small_batches(n, bs, works):
    "32 px leave a ResNet one value per channel"
    ims,y = galaxies(30, 32)
    s = Survey(ims, y, CLASSES)
    make = lambda mode: classifier_learner(survey_dls(s, range(n), range(20,24), bs=bs), create_encoder(), mode)
    if works: quiet(make('supervised'))
    else:
        for mode in ('supervised','finetune'):
            with pytest.raises(ValueError, match='batch of one image of 32×32 px') as e: make(mode)
            one_sentence(e)
    if n<9: assert len(quiet(make('linear')).recorder.losses)>=1

def test_one_image_of_64_px():
    ims,y = galaxies(6, 64)
    quiet(classifier_learner(survey_dls(Survey(ims, y, CLASSES), [0], [1]), create_encoder()))

@pytest.mark.parametrize('n,valid,bs,says', [(1,(),64,'SimCLR compares the images'),(5,(),1,'SimCLR compares the images'),(9,range(10,11),8,'the 1 validation images'),(9,range(10,27),8,''),(9,range(10,12),8,'')])
def test_small_batches_of_simclr(survey, n, valid, bs, says):
    make = lambda: simclr_learner(survey_dls(survey, range(n), valid, bs=bs), Tiny(), head=nn.Linear(8,8))
    if not says: assert np.isfinite(quiet(make()).recorder.values[-1]).all()
    else:
        with pytest.raises(ValueError, match=says) as e: make()
        one_sentence(e)

def test_simclr_predicts_no_single_image(survey, splits):
    l = simclr_learner(loaders(survey, splits), Tiny())
    with l.no_bar(), pytest.raises(ValueError, match='at least 2 images per batch, got 1') as e: l.predict(survey.images[0])
    one_sentence(e)

@pytest.mark.parametrize('mode', MODES)
def test_training_without_validation(survey, splits, mode):
    "The linear learner computes no features of no images"
    l = quiet(classifier_learner(survey_dls(survey, splits.train, bs=16), Tiny(), mode))
    assert len(l.recorder.values)==1

@pytest.mark.parametrize('size', [8,16,33,(24,40)])
def test_odd_sizes(size):
    h,w = (size,size) if isinstance(size,int) else size
    ims = np.random.default_rng(0).integers(0,255,(24,h,w,3),dtype=np.uint8)
    s = Survey(ims, np.arange(24)%3, CLASSES)
    dls = lambda: survey_dls(s, range(16), range(16,24), bs=8)
    check_encoder(create_encoder(), (h,w))
    l = quiet(classifier_learner(dls(), Tiny()))
    with l.no_bar():
        assert l.predict(ims[0])[2].shape==(3,) and l.tta(n=1)[0].shape==(8,3)
        if h!=w:
            with pytest.raises(ValueError, match='only to square ones'): l.predict(ims[0,:,:24])
    quiet(simclr_learner(dls(), Tiny()))
    if h==w: quiet(autoencoder_learner(dls(), **small(autoencoder_learner, h)))
    else:
        with pytest.raises(ValueError, match='needs square images, got 40×24 px'): autoencoder_learner(dls())

NAMES = [['E/S0','S_b|c','100% irr'], ['a$b','$\\badcommand$','c$$'], ['<b>','{x}','a\nb'], ['x'*60,'un élève','☄ \U0001F30C'], ['^_^','\\','#&~'], [' a',"it's",'"q"'], ['unlabelled','1','True']]
@pytest.mark.parametrize('names', NAMES)
def test_class_names_are_drawn_as_they_are(survey, splits, names, recwarn):
    s = Survey(survey.images, np.where(np.arange(60)<55, survey.labels, -1), names, name='a $ \\frac{ b$')
    ax = s.show_batch(1)
    ax.figure.canvas.draw()
    assert not any('$' in a.get_title().replace(r'\$','') for a in ax.figure.axes)
    s._repr_markdown_()
    l = classifier_learner(survey_dls(s, splits.train[:30], splits.valid[splits.valid<55], bs=16), Tiny())
    with l.no_bar():
        l.dls.show_batch(max_n=3); l.show_results(max_n=3); plt.gcf().canvas.draw()
        assert l.predict(s.images[0])[0] in names
        ClassificationInterpretation.from_learner(l).plot_top_losses(2); plt.gcf().canvas.draw()
    plot_confusion(evaluate(l, l.dls.valid), title=names[0]).figure.canvas.draw()

@pytest.mark.parametrize('arch,size,kw,says', [
    ('vit_tiny_patch16_224',64,{},"takes images of 224 px, and these are of 64×64 px; make it by create_encoder('vit_tiny_patch16_224', size=64)"),
    ('resnet18',64,dict(in_chans=1),"takes images of 1 bands, and these have 3; make it by create_encoder('resnet18', in_chans=3)")])
def test_an_encoder_that_does_not_fit_is_refused_before_training(arch, size, kw, says):
    ims,y = galaxies(20, size)
    dls = survey_dls(Survey(ims,y,CLASSES), range(12), range(12,20), bs=8)
    for make in (simclr_learner, autoencoder_learner, *(partial(classifier_learner, mode=m) for m in MODES)):
        with pytest.raises(ValueError) as e: make(dls, create_encoder(arch, **kw))
        assert says in str(e.value)
        one_sentence(e)

class Bad(nn.Module):
    def __init__(self, out, num_features=8): super().__init__(); self.out,self.num_features,self.w = out,num_features,nn.Parameter(torch.zeros(1))
    def forward(self, x): return self.out(x)
@pytest.mark.parametrize('out,n,says', [
    (lambda x: torch.zeros(len(x),8,4,4),8,'gave (2, 8, 4, 4), expected (2, 8)'), (lambda x: torch.zeros(len(x),9,8),8,'gave (2, 9, 8)'), (lambda x: torch.zeros(len(x),8),7,'gave (2, 8), expected (2, 7)'),
    (lambda x: (torch.zeros(len(x),8),),8,'gave tuple'), (lambda x: torch.zeros(8),8,'gave (8,)'), (lambda x: x@torch.zeros(3,3),8,'does not take images of 16×16 px'), (lambda x: torch.zeros(len(x),8),None,'has no .num_features')])
def test_an_output_that_does_not_fit_is_refused(survey, splits, out, n, says):
    e0 = Bad(out, n)
    if n is None: e0 = nn.Flatten()
    for make in (simclr_learner, partial(classifier_learner, mode='supervised'), partial(classifier_learner, mode='linear')):
        with pytest.raises(ValueError) as e: make(loaders(survey, splits), e0)
        assert says in str(e.value)
        one_sentence(e)

def test_a_transformer_takes_the_size(tmp_path):
    e = create_encoder('vit_tiny_patch16_224', size=32)
    f = save_encoder(e, tmp_path/'vit')
    b,x = load_encoder(f),torch.rand(2,3,32,32)
    assert e.config['size']==32 and torch.equal(b(x), e.eval()(x))
    assert 'size' not in create_encoder('resnet18', size=32).config
    import json                                                               # a file of before, without a size
    d = json.loads(f.with_suffix('.json').read_text()); d.pop('size'); f.with_suffix('.json').write_text(json.dumps(d))
    with pytest.raises(Exception): load_encoder(f)

@pytest.mark.parametrize('arch,says', [('resnet19',"got 'resnet19'"), ('hf_hub:timm/resnet50.a1_in1k',"as in 'resnet50'"), ('hf-hub:mwalmsley/zoobot-encoder-convnext_nano','which are not downloaded here'), ('resnet18.nope',"got 'resnet18.nope'"), (3,'got'), ('','got'), (None,'got')])
def test_names_of_architectures(arch, says):
    with pytest.raises(ValueError) as e: create_encoder(arch)
    assert says in str(e.value)
    one_sentence(e)

@pytest.mark.parametrize('arch', ['resnet18.a1_in1k','mobilenetv3_small_050','regnetx_002','test_vit'])
def test_architectures_that_fit(arch): check_encoder(create_encoder(arch, size=64), 64)

@pytest.mark.parametrize('labels', [[-1]+[0,1,2]*5+[0]*4, [-1]*20])
def test_a_classifier_needs_labels(survey, labels):
    s = Survey(survey.images[:20], labels, CLASSES)
    for mode in MODES:
        with pytest.raises(ValueError, match='of the 12 training images have none, the first is image 0 of survey') as e: classifier_learner(survey_dls(s, range(12), range(12,20)), Tiny(), mode)
        one_sentence(e)

def test_a_classifier_needs_classes(survey):
    with pytest.raises(ValueError, match='needs classes'): classifier_learner(survey_dls(survey.without_labels(), range(12), bs=4), Tiny())

def test_notes_and_skipped_are_shown(survey):
    s = Survey(survey.images, survey.labels, CLASSES, notes=['labels from `y`','one band, drawn in gray'], skipped=[('a.jpg','is empty'),('b.jpg','is empty')])
    text = s._repr_markdown_()
    for o in ('Labels from `y`','One band, drawn in gray','2 files not used (first: a.jpg, is empty)'): assert o in text
    assert 'not used' not in survey._repr_markdown_()
