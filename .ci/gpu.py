"What .ci/gpu runs: tests, a benchmark and pre-training on a GPU within a stated time; gathering wheels; cutting and joining of result files"
import argparse, gzip, hashlib, io, json, os, re, shutil, signal, subprocess, sys, tarfile, time
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PART = 16*10**6   # bytes of a result file, at most
CARRY = 64*10**6  # bytes of wheels, at most

def say(*o): print('gpu:', *o, flush=True)

# ---------------------------------------------------------------- wheels

SMALL = '''fastai fastcore fastdownload fastprogress==1.0.3 fasttransform plum-dispatch beartype rich pygments markdown-it-py mdurl cloudpickle
    timm safetensors huggingface-hub==0.36.0 filelock fsspec tqdm packaging pyyaml requests urllib3 idna certifi charset-normalizer platformdirs h5py
    pytest pluggy iniconfig typing-extensions python-dateutil six'''.split()   # what a machine for deep learning may lack
LARGE = '''numpy pillow pandas scipy scikit-learn joblib threadpoolctl narwhals matplotlib contourpy cycler fonttools kiwisolver pyparsing
    opencv-python-headless'''.split()                                          # what it is expected to have
SAME = {'opencv-python-headless':('opencv-python','opencv-contrib-python','opencv-contrib-python-headless')}

def base(name): return re.sub('[-_.]+', '-', re.split('[<>=!~]', name)[0]).lower()

def here(name):
    "Is a distribution installed, under this name or another?"
    for o in (name,*SAME.get(name,())):
        try: return bool(version(o))
        except PackageNotFoundError: pass
    return False

def wheel_name(path): return base(Path(path).name.split('-')[0])

def gather(args):
    "Download wheels for another machine, one by one and without what they ask for: torch would come along otherwise"
    args.dir.mkdir(parents=True, exist_ok=True)
    tags = [f'--platform={o}_{args.machine}' for o in ('manylinux_2_28','manylinux_2_27','manylinux_2_17','manylinux2014','manylinux1')]
    pins = dict(re.findall(r'^([\w-]+)==(\S+)$', (ROOT/'constraints.txt').read_text(), re.M))
    pins = {base(k):v for k,v in pins.items()}
    failed = []
    for o in SMALL+LARGE*args.all:
        pinned = f'{o}=={pins[base(o)]}' if '==' not in o and base(o) in pins else o
        cmd = [sys.executable,'-m','pip','download','-q','--no-deps','--only-binary=:all:','--implementation=cp',
               f'--python-version={args.python}','--disable-pip-version-check','-d',str(args.dir),*tags]
        if any(subprocess.run([*cmd,k], capture_output=True).returncode==0 for k in dict.fromkeys([pinned,o])): continue
        failed.append(o)
    size = sum(o.stat().st_size for o in args.dir.glob('*.whl'))
    say(f"{len(list(args.dir.glob('*.whl')))} wheels for Python {args.python} in {args.dir}, {size/1e6:.1f} MB")
    if failed: say('no wheel was found of', ', '.join(failed))
    if size>CARRY: say(f'this is more than {CARRY/1e6:.0f} MB')
    if not args.all: say('expected there:', 'torch, torchvision,', ', '.join(LARGE)+'; --all gathers these too, without torch')
    return bool(failed)

def lacking(args):
    "The wheels of a folder whose distributions are not installed"
    for o in sorted(args.dir.glob('*.whl')):
        if not here(wheel_name(o)): print(o)

# ---------------------------------------------------------------- result files

def sha256(path):
    h = hashlib.sha256()
    with open(path,'rb') as f:
        while b:=f.read(2**20): h.update(b)
    return h.hexdigest()

def split(path, most=PART):
    "Cut a file into parts beside it and remove it; returns the lines of JOIN.txt about it"
    path = Path(path)
    total = sha256(path)
    with open(path,'rb') as f:
        parts = []
        while (b:=f.read(most)) or not parts:
            parts.append(path.with_name(f'{path.name}.part{len(parts):02}'))
            parts[-1].write_bytes(b)
    path.unlink()
    names = ' '.join(o.name for o in parts)
    return [f'cat {names} > {path.name}', f'echo "{total}  {path.name}" | sha256sum -c']

def join(folder):
    "Put files together as JOIN.txt says, and unpack what is an archive; returns the files"
    folder,made = Path(folder),[]
    note = folder/'JOIN.txt'
    if not note.is_file(): raise SystemExit(f'gpu: {folder} has no JOIN.txt, expected the folder of results')
    text = note.read_text()
    for parts,name in re.findall(r'^cat (.+) > (\S+)$', text, re.M):
        lost = [o for o in parts.split() if not (folder/o).is_file()]
        if lost: raise SystemExit(f"gpu: {folder} lacks {', '.join(lost)}, a part of {name}")
        with open(folder/name,'wb') as f:
            for o in parts.split(): f.write((folder/o).read_bytes())
        if sha256(folder/name) not in text: raise SystemExit(f'gpu: {folder/name} is damaged, its SHA-256 is not that of JOIN.txt')
        made.append(folder/name)
        if name.endswith('.tar'):
            with tarfile.open(folder/name) as t:
                for m in t.getmembers():
                    if not m.isfile() or '/' in m.name: raise SystemExit(f'gpu: {name} holds {m.name}, expected plain files')
                    (folder/m.name).write_bytes(t.extractfile(m).read())
                    made.append(folder/m.name)
    return made

def smaller(state, moments=False):
    "A checkpoint with its matrices in half precision, moments of the optimiser in bfloat16"
    import torch
    if isinstance(state, dict): return {k:smaller(v, moments or k=='opt') for k,v in state.items()}
    if isinstance(state, (list,tuple)): return type(state)(smaller(o, moments) for o in state)
    if isinstance(state, torch.Tensor) and state.dtype==torch.float32 and state.ndim>1: return state.to(torch.bfloat16 if moments else torch.float16)
    return state

def larger(state):
    "A checkpoint as it was, in float32"
    import torch
    if isinstance(state, dict): return {k:larger(v) for k,v in state.items()}
    if isinstance(state, (list,tuple)): return type(state)(larger(o) for o in state)
    if isinstance(state, torch.Tensor) and state.dtype in (torch.float16,torch.bfloat16): return state.float()
    return state

KEPT = {} # what was packed last, by folder

def total_size(folder): return sum(o.stat().st_size for o in folder.iterdir() if o.is_file())

def newest_states(work):
    "The newest checkpoint of each training: its name is STEM.TRAINING.STEP.CHECKSUM.ckpt"
    newest = {}
    for o in sorted(work.glob('*.*.*.*.ckpt'), key=lambda o: o.stem.split('.')[-2]): newest[o.stem.rsplit('.',3)[0]] = o
    return list(newest.values())

def keep(work, out):
    "Encoders, and states of training that can go on, from the working folder to the results"
    import torch
    files = [o for k in ('safetensors','json') for o in sorted(work.glob(f'*.{k}'))]+newest_states(work)
    state = [(o.name,o.stat().st_mtime_ns) for o in files]
    tar = out/'results.tar'
    if KEPT.get(out)==state: return total_size(out)
    KEPT[out] = state
    with tarfile.open(tar,'w') as t:
        for o in files:
            if o.suffix!='.ckpt':
                t.add(o, o.name)
                continue
            raw = io.BytesIO()
            torch.save(smaller(torch.load(o, map_location='cpu', weights_only=True)), raw)
            b = gzip.compress(raw.getvalue(), 1, mtime=0)
            info = tarfile.TarInfo(o.name+'.gz')
            info.size = len(b)
            t.addfile(info, io.BytesIO(b))
    for o in out.glob('results.tar.part*'): o.unlink()
    lines = ['# Put together by `.ci/gpu join .`, or by', *split(tar), 'tar -xf results.tar']
    (out/'JOIN.txt').write_text('\n'.join(lines)+'\n')
    return total_size(out)

def resume(folder, work):
    "Take up results of another machine"
    import torch
    from galaxy_ssl.base.checkpoints import write_checkpoint
    for o in join(folder):
        if o.suffixes[-2:]==['.ckpt','.gz']:
            state = torch.load(io.BytesIO(gzip.decompress(o.read_bytes())), map_location='cpu', weights_only=True)
            stem,about,step,_ = o.name.removesuffix('.ckpt.gz').rsplit('.', 3)
            write_checkpoint(larger(state), work/f'{stem}.ckpt', about, int(step))
        elif o.suffix in ('.safetensors','.json'): shutil.copy2(o, work/o.name)
    figures = Path(folder)/'figures.json'
    return json.loads(figures.read_text()).get('plan',{}) if figures.exists() else {}

# ---------------------------------------------------------------- figures

def note(out, **new):
    "Add to figures.json"
    f = out/'figures.json'
    have = json.loads(f.read_text()) if f.exists() else {}
    for k,v in new.items(): have[k] = {**have.get(k,{}),**v} if isinstance(v, dict) and isinstance(have.get(k), dict) else v
    tmp = f.with_name('figures.json.new')
    tmp.write_text(json.dumps(have, indent=1)+'\n')
    os.replace(tmp, f)
    return have

def machine(device):
    "What the figures were measured on"
    import platform, torch
    r = dict(device=device, cores=len(os.sched_getaffinity(0)), python=platform.python_version(), torch=torch.__version__, cuda=torch.version.cuda)
    for k in ('torchvision','fastai','timm','numpy'):
        try: r[k] = version(k)
        except PackageNotFoundError: r[k] = None
    if device=='cuda':
        r['card'] = torch.cuda.get_device_name()
        r['memory_GB'] = round(torch.cuda.get_device_properties(0).total_memory/1e9, 1)
        try: r['driver'] = subprocess.run(['nvidia-smi','--query-gpu=driver_version','--format=csv,noheader'], capture_output=True, text=True, timeout=20).stdout.strip()
        except (OSError,subprocess.SubprocessError): r['driver'] = None
    else: r['card'] = None
    return r

# ---------------------------------------------------------------- steps, each in a process of its own

def now(device):
    import torch
    if device=='cuda': torch.cuda.synchronize()
    return time.perf_counter()

def rate(n, f, device, repeats=3):
    "Things per second, the median of some repeats after one that warms up"
    t = []
    for _ in range(repeats+1):
        a = now(device)
        f()
        t.append(now(device)-a)
    return n/sorted(t[1:])[repeats//2]

class Sizes:
    "How much is measured and trained on"
    def __init__(self, device):
        gpu = device=='cuda'
        self.views,self.side,self.train = (2048,128,51_200) if gpu else (32,64,64)
        self.bs,self.drawn,self.repeats = (256,20_480,3) if gpu else (32,64,1)
        self.pool,self.simclr_bs = (50_000,512) if gpu else (96,32)

def bare(model, loss, x, device, steps):
    "Steps of a network on one resident batch, in the precision of training"
    import torch
    from fastai.basics import Adam
    from galaxy_ssl.base.encoders import has_fast_bf16
    model = model.to(device).to(memory_format=torch.channels_last)
    x,opt = x.to(device).contiguous(memory_format=torch.channels_last),Adam(list(model.parameters()), lr=1e-3)
    def f():
        for _ in range(steps):
            with torch.autocast(device, torch.bfloat16, has_fast_bf16(device)): z = model(x)
            loss(z).backward()
            opt.step()
            opt.zero_grad()
    return f

def epoch(learn):
    "An epoch of training, with the few images that validate it"
    from galaxy_ssl.base.training import fit_status
    def f():
        with fit_status(learn): learn.fit(1)
    return f

def bench_views(out, device, s):
    "Two views, and an epoch of SimCLR against the bare network"
    import numpy as np, torch
    from galaxy_ssl.augment import ColorJitter, CropResize, GaussianBlur, Gray, HorizontalFlip, make_pipeline, two_views
    from galaxy_ssl.core import create_encoder
    from galaxy_ssl.data import survey_dls
    from galaxy_ssl.simclr import ProjectionHead, SimCLRModel, nt_xent, simclr_learner
    from galaxy_ssl.survey.simulate import simulate_images
    from galaxy_ssl.survey.survey import Survey
    base = simulate_images('sim_decals', np.arange(min(256,s.views))%10, size=s.side, device=device)
    many = np.concatenate([np.rot90(base, k%4, (1,2)) for k in range(-(-(s.train+2)//len(base)))])[:s.train+2]
    survey = Survey(many, np.full(len(many),-1), [], simulated=True)
    size = s.side*3//4
    sets = {'study':make_pipeline('gaussian_noise,crop_resize,crop_resize', size),
            'simclr':make_pipeline([CropResize(size),HorizontalFlip(),ColorJitter(.8,.8,.8,.2),Gray(.2),GaussianBlur()], size, p=[1,.5,.8,1,.5])}
    x = torch.from_numpy(many[:s.bs].copy()).permute(0,3,1,2).to(device)
    k = max(1, s.views//s.bs)
    note(out, benchmark={f'two views, {o}, images/s':round(rate(k*s.bs, lambda: [two_views(x, p, joined=True) for _ in range(k)], device, s.repeats), 1) for o,p in sets.items()})
    steps = s.train//s.bs
    network = bare(SimCLRModel(create_encoder(), ProjectionHead(512)), lambda z: nt_xent(*z.float().chunk(2)), torch.rand(2*s.bs, 3, size, size), device, steps)
    r = {'network':rate(steps*s.bs, network, device, s.repeats)}
    for o,p in sets.items():
        dls = survey_dls(survey, np.arange(s.train), np.arange(s.train, s.train+2), bs=s.bs, device=device)
        r[o] = rate(s.train, epoch(simclr_learner(dls, views=p, size=size)), device, s.repeats)
    lines = {f'SimCLR, {k}, images/s':round(v, 1) for k,v in r.items()}
    note(out, benchmark=lines|{f'SimCLR epoch against the network, {o}':round(r[o]/r['network'], 3) for o in sets})

def bench_simulated(out, device, s):
    "Simulated galaxies as they come, and while a network trains on them"
    from galaxy_ssl.simulated import simulated_dls, simulated_learner
    from galaxy_ssl.survey.stream import GalaxyStream
    few = {} if device=='cuda' else dict(galaxies=16)
    n,stream = 0,iter(GalaxyStream(device=device, **few))
    next(stream)                       # what is made once
    t = now(device)
    while n<s.drawn and now(device)-t<20: n += len(next(stream)[0])
    note(out, benchmark={'simulated galaxies, no network, images/s':round(n/(now(device)-t), 1)})
    learn = simulated_learner(simulated_dls(n=s.drawn, n_valid=32, bs=128 if device=='cuda' else 32, device=device, **few))
    train = rate(s.drawn, epoch(learn), device, s.repeats)
    x,*y = learn.dls.train.one_batch()
    steps = s.drawn//len(x)
    network = rate(steps*len(x), bare(learn.model, lambda z: learn.loss_func(z, *y), x, device, steps), device, s.repeats)
    note(out, benchmark={'simulated galaxies, network alone, images/s':round(network, 1), 'simulated galaxies, training, images/s':round(train, 1),
                         'simulated galaxies, network time as a share of wall time':round(train/network, 3)})

def bench(args):
    s = Sizes(args.device)
    for f in (bench_simulated,bench_views):
        try: f(args.out, args.device, s)
        except Exception as e:
            note(args.out, benchmark={f'{f.__name__} failed':f'{type(e).__name__}: {e}'[:300]})
            say(f'{f.__name__} failed with {type(e).__name__}: {e}')

def simclr(args):
    "SimCLR on a survey, or on simulated images, with a checkpoint"
    import numpy as np, torch
    from fastai.basics import set_seed
    from galaxy_ssl.base.checkpoints import Checkpoint
    from galaxy_ssl.base.training import fit_status, recorder_df
    from galaxy_ssl.core import create_encoder, save_encoder
    from galaxy_ssl.data import get_survey, survey_dls
    from galaxy_ssl.simclr import ProjectionHead, simclr_learner
    from galaxy_ssl.survey.survey import Survey
    s = Sizes(args.device)
    if args.survey: survey = get_survey(args.survey, size=64, labelled=None)
    else:
        from galaxy_ssl.survey.stream import simulated_sample
        images = simulated_sample(s.pool, seed=args.seed, device=args.device, **({} if args.device=='cuda' else dict(galaxies=32)))[0].permute(0,2,3,1).cpu().numpy()
        survey = Survey(np.ascontiguousarray(images), np.full(len(images),-1), [], name='simulated', simulated=True)
    set_seed(args.seed)
    perm = np.random.default_rng(args.seed).permutation(len(survey))
    n_valid = max(2, min(512, len(survey)//10))
    bs = min(s.simclr_bs, len(survey)-n_valid)
    dls = survey_dls(survey, perm[n_valid:], perm[:n_valid], bs=bs, device=args.device)
    enc = create_encoder()
    learn = simclr_learner(dls, enc, head=ProjectionHead(enc.num_features), lr=2e-3, wd=.05, cbs=Checkpoint(args.work/'simclr.ckpt', every=30, tidy=False))
    epochs,n = args.epochs,len(survey)-n_valid
    if not epochs:
        for _ in range(2):                 # one that warms up, one that is timed
            t = now(args.device)
            with fit_status(simclr_learner(dls, create_encoder())) as trial: trial.fit(1)
            t = now(args.device)-t
        epochs = max(1, int(args.seconds*.7/t))
        note(args.out, plan=dict(simclr_epochs=epochs))
    with fit_status(learn, f'simclr on {n:,} images'): learn.fit_cosine(epochs, warmup=.05)
    log = recorder_df(learn)
    made = dict(method='simclr', pool=survey.name, images=n, epochs=len(log), seed=args.seed, log=log.round(5).to_dict('list'), **machine(args.device))
    enc = enc.to(memory_format=torch.contiguous_format).eval()
    save_encoder(enc, args.work/'simclr', half=True, **made)
    learn.checkpoint.remove()
    note(args.out, simclr=dict(images=n, epochs=len(log), loss=[float(log.iloc[0,0]),float(log.iloc[-1,0])]))

# ---------------------------------------------------------------- the whole

@contextmanager
def logged(out):
    "A file that all steps write to as well"
    with open(out/'log.txt','ab') as f: yield f

def step(out, cmd, seconds, grace=15):
    "Run a command for so many seconds at most: interrupted then, and ended where that does not help"
    if seconds<5:
        say('no time is left for', ' '.join(map(str,cmd[1:4])))
        return None
    with logged(out) as log:
        p = subprocess.Popen(list(map(str,cmd)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        os.set_blocking(p.stdout.fileno(), False)
        end,told = time.monotonic()+seconds,0
        while True:
            b = p.stdout.read() or b''
            log.write(b)
            log.flush()
            sys.stdout.write(b.decode(errors='replace'))
            sys.stdout.flush()
            if p.poll() is not None: break
            if time.monotonic()>end+told*grace and told<2:
                os.killpg(p.pid, (signal.SIGINT,signal.SIGKILL)[told])
                told += 1
            time.sleep(.1)
        rest = p.stdout.read()
        if rest: log.write(rest)
    return p.returncode

def tests(args, seconds):
    "The tests on the device; a line for figures.json"
    t = time.monotonic()
    rc = step(args.out, [sys.executable,'-m','pytest','-v','--tb=short','-p','no:cacheprovider',ROOT/'tests'/'test_cuda.py'], seconds)
    said = (args.out/'log.txt').read_text(errors='replace').split('== tests')[-1]
    found = {o.lower():len(re.findall(rf'^\S+::.* {o}\b', said, re.M)) for o in ('PASSED','FAILED','ERROR','SKIPPED')}   # also of a run that was cut short
    note(args.out, tests={**found, 'status':rc, 'seconds':round(time.monotonic()-t, 1)})

def title(out, text):
    say(text)
    with logged(out) as f: f.write(f'== {text}\n'.encode())

SHARES = dict(tests=.3, bench=.3, simulated=.65, simclr=1) # of the time that is left when a step begins

def run(args):
    "Everything, in order, within the time"
    end = (args.start or time.time())+60*args.minutes
    left = lambda: end-time.time()-min(25, 6*args.minutes)   # packing takes so long at most
    def share(o): return left()*(SHARES[o] if o!=[k for k in SHARES if k in args.do][-1] else 1)
    args.out.mkdir(parents=True, exist_ok=True)
    args.work.mkdir(parents=True, exist_ok=True)
    if args.resume: note(args.out, plan=resume(args.resume, args.work))
    try: import torch
    except ImportError: raise SystemExit('gpu: this Python has no torch, which is not carried; set PYTHON to one that has it')
    if not args.device: args.device = 'cuda' if torch.cuda.is_available() else ''
    if not args.device: raise SystemExit('gpu: torch sees no GPU here; --device cpu tries the script out')
    lacks = [o for o in SMALL+LARGE if not here(base(o))]
    if lacks: say('not installed here:', ', '.join(map(base,lacks)))
    have = note(args.out, machine=machine(args.device), minutes=args.minutes)
    say(have['machine']['card'] or 'no GPU', '·', 'torch', have['machine']['torch'], '·', f'{left():.0f} s')
    os.environ['GALAXY_SSL_TEST_DEVICE'] = args.device
    if args.device=='cpu': os.environ['CUDA_VISIBLE_DEVICES'] = ''
    os.environ['PYTEST_DISABLE_PLUGIN_AUTOLOAD'] = '1'   # whatever else is installed there
    for o in (k for k in SHARES if k in args.do):
        title(args.out, o)
        try: dict(tests=tests, bench=measure, simulated=pretrain, simclr=contrast)[o](args, share(o))
        except Exception as e:                           # the others are not lost
            say(f'{o} failed with {type(e).__name__}: {e}')
            note(args.out, failed={o:f'{type(e).__name__}: {e}'[:300]})
    finish(args, end)
    return 0

def own(args, name, seconds, *more):
    "A step of this file in a process of its own"
    common = ['--device',args.device,'--out',args.out,'--work',args.work,'--seed',args.seed]
    return step(args.out, [sys.executable,Path(__file__),'step',name,*common,*more], seconds)

def measure(args, seconds): own(args, 'bench', seconds)

def contrast(args, seconds):
    "SimCLR; one that was interrupted goes on for as many epochs as were planned"
    if (args.work/'simclr.safetensors').exists(): return say('it is there already')
    epochs = note(args.out).get('plan',{}).get('simclr_epochs',0) if list(args.work.glob('simclr.*.ckpt')) else 0
    survey = ['--survey',args.survey] if args.survey else []
    rc = own(args, 'simclr', seconds, '--seconds',max(1,int(seconds-20)),'--epochs',epochs,*survey)
    note(args.out, simclr=dict(status=rc))

def finish(args, end):
    "Results to the folder that is taken along"
    size = keep(args.work, args.out)
    note(args.out, seconds=round(time.time()-end+60*args.minutes, 1))
    say(f'{size/1e6:.1f} MB in {args.out}, files of at most {PART/1e6:.0f} MB; JOIN.txt says how to put them together')

def pretrain(args, seconds):
    "The encoder that ships, on simulated galaxies, by the command that anybody would use"
    done = args.work/'simulated.safetensors'
    if done.exists(): return say('it is there already')
    have = note(args.out)
    plan = have.get('plan',{}).get('images',0)
    n = args.images or plan
    if not n:
        speed = have.get('benchmark',{}).get('simulated galaxies, training, images/s')
        n = max(256, int((speed or (3000 if args.device=='cuda' else 20))*.8*max(1, seconds-20)))
    note(args.out, plan=dict(images=n, seed=args.seed))
    t = time.monotonic()
    rc = step(args.out, [sys.executable,'-m','galaxy_ssl.study.cli','pretrain',args.work/'simulated','--images',n,'--seed',args.seed,*(['--epoch',256] if args.device=='cpu' else [])], seconds)
    note(args.out, simulated=dict(images=n, status=rc, finished=done.exists(), seconds=round(time.monotonic()-t, 1)))
    if 'simclr' in args.do: keep(args.work, args.out)   # should all be ended from outside, this is there

# ---------------------------------------------------------------- command line

def parser():
    p = argparse.ArgumentParser(prog='gpu', description='Tests, measures and pre-trains on a GPU within a stated time.')
    sub = p.add_subparsers(dest='command', required=True)
    c = sub.add_parser('run', help='all of it', description='Run tests and benchmark on the GPU, then pre-train for the rest of the time.')
    c.add_argument('--minutes', type=float, default=9, help='of the whole, start to end (%(default)g)')
    c.add_argument('--images', type=int, default=0, help='simulated images to train on; 0: as many as there is time for')
    c.add_argument('--survey', default='', help='survey, folder or archive that SimCLR is trained on; default: simulated images')
    c.add_argument('--do', type=lambda o: o.split(','), default=list(SHARES), metavar='A,B', help='any of tests, bench, simulated, simclr')
    c.add_argument('--resume', type=Path, metavar='DIR', help='results of an earlier run, on this or another machine, to go on from')
    c.add_argument('--start', type=float, default=0, help=argparse.SUPPRESS)
    s = sub.add_parser('step', help='one step, as `run` calls it')
    s.add_argument('name', choices=['bench','simclr'])
    s.add_argument('--survey', default='')
    s.add_argument('--epochs', type=int, default=0)
    s.add_argument('--seconds', type=float, default=60)
    for o in (c,s):
        o.add_argument('--out', type=Path, default=Path(os.environ.get('OUT') or 'gpu_out'), metavar='DIR', help='results, in files of at most 16 MB ($OUT, else gpu_out)')
        o.add_argument('--work', type=Path, default=Path('gpu_work'), metavar='DIR', help='where training keeps its state (%(default)s)')
        o.add_argument('--device', default='', choices=['','cuda','cpu'], help='cuda where there is one; cpu: tiny sizes, to try the script out')
        o.add_argument('--seed', type=int, default=0, help='of training (%(default)s)')
    w = sub.add_parser('wheels', help='gather wheels for a machine without network')
    w.add_argument('dir', type=Path, nargs='?', default=ROOT/'.wheels', help='folder (.wheels in the repository, which `run` looks for)')
    w.add_argument('--python', default='{}.{}'.format(*sys.version_info), help='version of Python there (%(default)s)')
    w.add_argument('--machine', default='x86_64', help='processor there (%(default)s)')
    w.add_argument('--all', action='store_true', help='also what a machine for deep learning has, such as SciPy and OpenCV')
    for k,h in dict(lacking='the wheels of a folder that are not installed', join='put result files together again').items():
        sub.add_parser(k, help=h).add_argument('dir', type=Path)
    x = sub.add_parser('split', help='cut a file into parts')
    x.add_argument('path', type=Path)
    return p

def main(argv=None):
    args = parser().parse_args(argv)
    if args.command=='run':
        wrong = set(args.do)-set(SHARES)
        if wrong: raise SystemExit(f"gpu: --do got {', '.join(sorted(wrong))}, expected any of {', '.join(SHARES)}")
        return run(args)
    if args.command=='step': return {'bench':bench,'simclr':simclr}[args.name](args)
    if args.command=='wheels': return gather(args)
    if args.command=='lacking': return lacking(args)
    if args.command=='join': return print(*join(args.dir), sep='\n')
    print(*split(args.path), sep='\n')

if __name__=='__main__':
    try: sys.exit(main())
    except KeyboardInterrupt: sys.exit(130)
