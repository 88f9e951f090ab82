"Simulated galaxies on a GPU, without one: is everything made where it is used?"
import numpy as np
import pytest
import torch
from pretended import PretendedGPU, There
from galaxy_ssl.survey.simulate import simulate_images
from galaxy_ssl.survey.stream import GalaxyStream, simulated_sample

def test_the_pretended_gpu_refuses_what_a_gpu_refuses():
    with PretendedGPU():
        a,b = torch.ones(3, device='cuda'),torch.ones(3)
        assert type(a+1) is There and a.device.type=='cuda' and (a+a).cpu().device.type=='cpu'
        assert torch.equal(a[torch.tensor([0,2])], a[:2]) and b.to(a).is_cuda and (a*torch.tensor(2.)).is_cuda
        for f in (lambda: a+b, lambda: torch.cat([a,b]), lambda: b[a.long()], lambda: a.__setitem__(slice(None), b)):
            with pytest.raises(RuntimeError): f()
        with pytest.raises(TypeError): a.numpy()

@pytest.mark.parametrize('number', [0,1])
def test_a_stream(number):
    with PretendedGPU():
        s = GalaxyStream(size=32, galaxies=48, device='cuda')
        s.chunk = 32
        out = s.round(number)
        assert all(o.is_cuda for o in out) and out[0].shape==(96,3,32,32)

def test_a_sample_is_that_of_the_cpu():
    "The random numbers are the CPU's here, so the images are too"
    with PretendedGPU(): a = simulated_sample(20, seed=3, size=32, device='cuda')
    for p,q in zip(a, simulated_sample(20, seed=3, size=32)): assert torch.equal(p.as_subclass(torch.Tensor).nan_to_num(), q.nan_to_num())

@pytest.mark.parametrize('kind', ['sim_sdss','sim_decals'])
def test_the_simulated_surveys(kind):
    with PretendedGPU(): a = simulate_images(kind, np.arange(10), size=32, device='cuda')
    assert (a==simulate_images(kind, np.arange(10), size=32)).all()

@pytest.mark.parametrize('parts', ['classes,properties','properties'])
def test_the_loss(parts):
    from galaxy_ssl.simulated import SimulatedLoss, property_error, property_scale, recipe_accuracy
    x,*y = simulated_sample(8, size=16)
    mean,std = property_scale()
    with PretendedGPU():
        pred = torch.zeros(8, 15, device='cuda'),torch.zeros(8, 21, device='cuda')
        y = [o.to('cuda') for o in y]
        for o in (SimulatedLoss(mean, std, parts)(pred, *y), property_error(pred, *y), recipe_accuracy(pred, *y)): assert o.is_cuda and o.isfinite()
