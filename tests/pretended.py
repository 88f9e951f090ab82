"A GPU that is not there: tensors that say they lie on it, and an error where one meets a tensor that lies elsewhere, as a GPU would raise it"
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

CUDA = torch.device('cuda')
DEVICE,IS_CUDA = torch.Tensor.device.__get__,torch.Tensor.is_cuda.__get__
INDEX = {torch.Tensor.__getitem__,torch.Tensor.__setitem__}  # a GPU takes indices from the CPU
HOST = {torch.Tensor.numpy,torch.Tensor.__array__}


class There(torch.Tensor):
    "Lies on the GPU, or says so"


def on_gpu(device):
    try: return device is not None and torch.device(device).type=='cuda'
    except (RuntimeError,TypeError): return False


class Generator(torch.Generator):
    "One of the GPU, with the numbers of the CPU"
    device = CUDA


class PretendedGPU(TorchFunctionMode):
    "Within the block a device 'cuda' is there"
    generator = torch.Generator
    def __enter__(self):
        torch.Generator = lambda device='cpu': Generator() if on_gpu(device) else self.generator()
        return super().__enter__()
    def __exit__(self, *args):
        torch.Generator = self.generator
        return super().__exit__(*args)
    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [o for o in tree_flatten((args,kwargs))[0] if isinstance(o, torch.Tensor)]
        there = any(type(o) is There for o in tensors)
        if func==DEVICE: return CUDA if there else func(*args)
        if func==IS_CUDA: return there
        if func in HOST and there: raise TypeError("can't convert cuda:0 device type tensor to numpy")
        asked,args = kwargs.pop('device',None),list(args)
        if func is torch.Tensor.cpu: asked = 'cpu'
        if func is torch.Tensor.to:
            if len(args)>1 and isinstance(args[1], (str,torch.device)): asked = args.pop(1)
            elif len(args)>1 and isinstance(args[1], torch.Tensor):
                asked = CUDA if type(args[1]) is There else 'cpu'
                args[1] = args[1].dtype
            if len(args)==1 and 'dtype' not in kwargs: args.append(args[0].dtype)
        elif there: self.check(func, args, kwargs, tensors)
        to = there if asked is None else on_gpu(asked)
        with torch._C.DisableTorchFunctionSubclass():
            plain = tree_map(lambda o: o.as_subclass(torch.Tensor) if type(o) is There else o, (tuple(args),kwargs))
            out = func(*plain[0], **plain[1])
            return tree_map(lambda o: o.as_subclass(There if to else torch.Tensor) if isinstance(o, torch.Tensor) and not isinstance(o, torch.nn.Parameter) else o, out)
    def check(self, func, args, kwargs, tensors):
        "Numbers may come from the CPU, and indices"
        if func in INDEX:
            if type(args[0]) is not There: raise RuntimeError(f"indices should be on the CPU, in {func.__name__}")
            tensors = [args[0],*[o for o in args[2:] if isinstance(o, torch.Tensor)]]
        alien = [o for o in tensors if type(o) is not There and o.ndim]
        if alien: raise RuntimeError(f"expected all tensors to be on the same device, in {getattr(func,'__name__',func)}: {tuple(alien[0].shape)} is not on the GPU")
