"Views and losses without a GPU at hand: do they wait for one, and how many kernels do they start? And what threads and processes do to views"
import gc, threading, tracemalloc
from contextlib import ExitStack
from unittest import mock
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from galaxy_ssl import augment
from galaxy_ssl.engine import color, geometry, views
from galaxy_ssl.engine.opencv import run_torch
from galaxy_ssl.augment import AUGMENTATIONS, EXTRAS, make_pipeline, two_views
from galaxy_ssl.simclr import contrastive_accuracy, nt_xent

ALL = [*AUGMENTATIONS, *EXTRAS]
SIMCLR = dict(names='crop_resize,horizontal_flip,color_jitter,gray,gaussian_blur', p=[1,.5,.8,1,.5])


class Kernels(TorchDispatchMode):
    "Counts operations that are not mere views"
    def __init__(self): super().__init__(); self.n = 0
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        r = func._schema.returns
        self.n += not r or r[0].alias_info is None or r[0].alias_info.is_write
        return func(*args, **(kwargs or {}))


def there(a, like):
    "What `to_device` gives on a GPU, without one"
    if isinstance(a, torch.Tensor) and a.device==like.device: return a
    with unset_fake_temporarily(): t = torch.as_tensor(a)
    return torch.empty(t.shape, dtype=like.dtype if t.is_floating_point() else t.dtype, device=like.device)


def on_host(f):
    "What is computed from parameters, on the host"
    def g(*args):
        with unset_fake_temporarily(): return f(*args)
    return g


@pytest.fixture
def gpu():
    "Tensors that pretend to lie on a GPU, and refuse to tell their values"
    def randn(shape, device=None, generator=None): return torch.empty(shape, device=device)
    with ExitStack() as stack:
        for m in (geometry, color, views, augment): stack.enter_context(mock.patch.object(m, 'to_device', there))
        stack.enter_context(mock.patch.object(torch, 'randn', randn))
        stack.enter_context(mock.patch.object(augment.GaussianBlur, 'kernels', on_host(augment.GaussianBlur.kernels)))
        yield FakeTensorMode(allow_non_fake_inputs=True)


def on_gpu(pipe, gpu, n=8, side=128):
    stages = pipe.stages(pipe.plan(n, (side,side)), n, (side,side))
    with gpu: return run_torch(torch.empty(n, 3, side, side, device='cuda:0'), stages)


def test_the_pretended_gpu_tells_when_it_is_waited_for(gpu):
    with gpu, pytest.raises(DataDependentOutputException): float(torch.empty(3, device='cuda:0').sum())


@pytest.mark.parametrize('name', ALL)
def test_no_augmentation_waits_for_the_gpu(gpu, name):
    for p in (1,.5): assert on_gpu(make_pipeline(name, 96, p=p), gpu).shape==(8,3,96,96)


def test_no_sequence_waits_for_the_gpu(gpu):
    for names in (','.join(ALL), 'rotation,crop_resize,rotation,flip,zoom', 'color_jitter,gray,color_jitter'):
        y = on_gpu(make_pipeline(names, 96), gpu)
        assert y.device.type=='cuda' and y.shape==(8,3,96,96)


def test_the_loss_does_not_wait_for_the_gpu(gpu):
    with gpu:
        a,b = (torch.empty(300, 128, device='cuda:0', requires_grad=True) for _ in range(2))
        assert nt_xent(a, b).requires_grad # its gradient is made on the way
        contrastive_accuracy(torch.cat([a,b]))


def test_a_batch_costs_a_bounded_number_of_kernels():
    "No more for 256 images than for 64"
    def count(names, n, **kw):
        pipe = make_pipeline(names, 96, backend='torch', seed=0, **kw)
        stages,x = pipe.stages(pipe.plan(n, (128,128)), n, (128,128)),torch.rand(n, 3, 128, 128)
        with Kernels() as k, torch.no_grad(): run_torch(x, stages)
        return k.n
    for kw in (dict(names='gaussian_noise,crop_resize,crop_resize'), SIMCLR):
        few,many = (count(n=n, **kw) for n in (64,256))
        assert many<1.1*few and many<250
    assert count('crop_resize,crop_resize,flip,zoom', 16, p=1)<=count('crop_resize', 16, p=1) # composed: one interpolation


def test_images_without_a_gpu_and_the_wrong_backend():
    with FakeTensorMode(): x = torch.empty(2, 3, 8, 8, dtype=torch.uint8, device='cuda:0')
    with pytest.raises(ValueError, match="backend 'opencv' works on the CPU, got images on cuda:0"): make_pipeline('gray', 8, backend='opencv')(x)


@pytest.mark.parametrize('shape,what', [((0,3,8,8),'must not be empty'), ((2,1,8,8),'3 channels'), ((2,5,8,8),'3 channels'), ((2,3,0,8),'must not be empty'), ((3,8,8),'4 dimensions')])
@pytest.mark.parametrize('backend', ['opencv','torch'])
@pytest.mark.parametrize('dtype', [torch.uint8,torch.float32])
def test_shapes_that_are_no_batch(shape, what, backend, dtype):
    with pytest.raises(ValueError, match=what): make_pipeline('gray', 8, backend=backend)(torch.zeros(shape, dtype=dtype))


@pytest.mark.parametrize('backend', ['opencv','torch'])
@pytest.mark.parametrize('bad', [float('nan'),float('inf'),-1.,2.])
def test_values_that_are_no_image(backend, bad):
    x = torch.rand(2, 3, 16, 16)
    pipe = make_pipeline('rotation', 16, backend=backend)
    pipe(x)
    x[1,2,3,4] = bad
    with pytest.raises(ValueError, match=r'must lie in \[0,1\] and have no NaN'): pipe(x)


@pytest.mark.parametrize('side', [1,2,5,9,40])
@pytest.mark.parametrize('backend', ['opencv','torch'])
def test_images_smaller_than_the_target(side, backend):
    "Enlarged, like any other; only a kernel wider than the image is refused"
    x = torch.rand(3, 3, side, side)
    for name in ALL:
        pipe = make_pipeline(name, 24, p=1, backend=backend)
        if 'blur' in name and side<=5:
            with pytest.raises(ValueError, match='needs images of at least'): pipe(x[...,:4,:4])
        else:
            y = pipe(x)
            assert y.shape==(3,3,24,24) and 0<=y.min() and y.max()<=1 and not y.isnan().any()


@pytest.mark.parametrize('name', ALL)
def test_strides_and_half_precision(name):
    big = torch.rand(4, 6, 50, 60)
    x = big[:,1::2,5:45:1,10:50]
    for dt in (torch.float16,torch.bfloat16):
        for backend in ('opencv','torch'):
            def view(x): return make_pipeline(name, 24, p=1, seed=0, backend=backend)(x)
            y = view(x.to(dt))
            assert y.dtype==dt
            assert torch.equal(y, view(x.to(dt).contiguous())) or 'noise' not in name and (y.float()-view(x.to(dt).contiguous()).float()).abs().max()<.01


def test_two_views_at_once_in_threads():
    "Callers in several threads share the two threads of a process, and each gets its own images"
    x = torch.rand(40, 3, 64, 64)
    want = {s:make_pipeline('rotation,zoom,color_jitter', 64, seed=s)(x).clone() for s in range(4)}
    wrong = []
    def work(s):
        for _ in range(8):
            y = make_pipeline('rotation,zoom,color_jitter', 64, seed=s)(x)
            if not torch.equal(y, want[s]): wrong.append(s)
    ts = [threading.Thread(target=work, args=(s,)) for s in want]
    for t in ts: t.start()
    for t in ts: t.join()
    assert not wrong


class Views(torch.utils.data.Dataset):
    def __len__(self): return 2
    def __getitem__(self, i): return make_pipeline('rotation,gaussian_noise', 32, seed=i)(torch.ones(40, 3, 32, 32))


def test_views_in_worker_processes():
    "As those who keep a `Dataset` of their own would have them"
    ds = Views()
    here = [ds[i] for i in range(2)]
    for a,b in zip(torch.utils.data.DataLoader(ds, batch_size=None, num_workers=2, timeout=120), here): assert torch.equal(a, b)


def test_memory_of_views_does_not_grow():
    x,pipe = torch.zeros(64, 3, 64, 64, dtype=torch.uint8),make_pipeline('crop_resize', 64)
    tracemalloc.start()
    for _ in range(30): two_views(x, pipe, joined=True)
    gc.collect()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak<=8*2*64*3*64*64*4
