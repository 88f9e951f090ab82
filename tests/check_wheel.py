"""The package as its users get it: built, looked into, installed alone in a new environment, and used away from the checkout.

    python tests/check_wheel.py              build it, and all of that; downloads the dependencies
    python tests/check_wheel.py --borrow     with the dependencies of the Python that runs this
    python tests/check_wheel.py --dist dist  the wheel and the sdist that are in `dist`
    python tests/check_wheel.py --notebooks  run the notebooks, or those named, with what is installed; needs no nbdev

Building needs `pip install build twine`. Not collected by pytest: it takes a minute at least."""
import argparse, os, re, shutil, subprocess, sys, sysconfig, tarfile, tempfile, time, venv, zipfile
from email import message_from_string
from pathlib import Path
from house import NOTEBOOKS, ROOT, settings, source

NOTEBOOK = '05_experiments.ipynb'

S = settings()

def run(*args, **kw):
    "Run a command and give back what it printed; show that and stop if it failed"
    r = subprocess.run([str(o) for o in args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)
    if r.returncode: sys.exit(f"{' '.join(map(str,args))[:200]} failed:\n{r.stdout}")
    return r.stdout
def say(*o): print(*o, flush=True)

# ---------------------------------------------------------------- build, and look inside

def build(tmp):
    "Wheel and sdist of a copy of the checkout, so that nothing is left in it"
    shutil.copytree(ROOT, tmp/'src', symlinks=True, ignore=shutil.ignore_patterns('.git','.venv','*venv*','build','dist','*.egg-info','__pycache__','results','_docs','_proc'))
    run(sys.executable, '-m', 'build', '--outdir', tmp/'dist', tmp/'src')
    return tmp/'dist'

def one(folder, pattern):
    found = list(folder.glob(pattern))
    if len(found)!=1: sys.exit(f"expected one {pattern} in {folder}, got {[o.name for o in found]}")
    return found[0]

def look_into_wheel(path):
    "Modules and encoders as they are here, the notebook, the command, the licence, and nothing else"
    lib,info = S['lib_name'],f"{S['lib_name']}-{S['version']}.dist-info"
    with zipfile.ZipFile(path) as z: files = {o:z.read(o) for o in z.namelist() if not o.endswith('/')}
    assert path.name==f"{lib}-{S['version']}-py3-none-any.whl", path.name
    modules = {str(o.relative_to(ROOT)):o.read_bytes() for o in (ROOT/lib).rglob('*.py')}
    encoders = {str(o.relative_to(ROOT)):o.read_bytes() for o in (ROOT/lib/'weights').iterdir() if o.suffix in ('.safetensors','.json')}
    expected = {**modules, **encoders, f'{lib}/{NOTEBOOK}':(ROOT/'nbs'/NOTEBOOK).read_bytes()}
    inside = {k for k in files if not k.startswith(info+'/')}
    assert inside==set(expected), f'differs from the checkout: {sorted(inside^set(expected))}'
    for k,v in expected.items(): assert files[k]==v, f'{k} is not what it is here'
    head,_,text = files[f'{info}/METADATA'].decode().partition('\n\n')
    meta = message_from_string(head)
    assert (meta['Name'].replace('-','_'),meta['Version'],meta['Requires-Python'])==(lib,S['version'],f">={S['min_python']}"), meta.items()
    requires = [o for o in meta.get_all('Requires-Dist') if 'extra ==' not in o]
    assert len(requires)==len(S['requirements'].split()), requires
    assert '](nbs/' not in text and re.sub(r'\]\(\S*?/nbs/', '](nbs/', re.sub(r'\]\(https://raw\S*?/nbs/', '](nbs/', text)).strip()==(ROOT/'README.md').read_text(encoding='utf-8').strip()
    script = S['console_scripts'].split('=')
    assert re.search(rf"^{script[0]}\s*=\s*{re.escape(script[1])}$", files[f'{info}/entry_points.txt'].decode(), re.M)
    assert any(k.startswith(info) and k.endswith('/LICENSE') for k in files)
    say(f'{path.name}: {len(modules)} modules, {len(encoders)//2} encoders, {NOTEBOOK}, {path.stat().st_size/1e3:.0f} kB')

def look_into_sdist(path):
    "What is needed to build the wheel, and no tests, further notebooks or data"
    with tarfile.open(path) as t: names = {o.name.partition('/')[2] for o in t.getmembers() if o.isfile()}
    own = {o for o in names if not re.match(rf"({S['lib_name']}|{S['lib_name']}\.egg-info)/", o)}
    expected = {'LICENSE','MANIFEST.in','PKG-INFO','README.md','settings.ini','setup.cfg','setup.py',f'nbs/{NOTEBOOK}'}
    assert own==expected, f'differs from what is expected: {sorted(own^expected)}'
    encoders = {f"{S['lib_name']}/weights/{o.name}" for o in (ROOT/S['lib_name']/'weights').iterdir()}
    assert encoders<=names, f'lacks {sorted(encoders-names)}'
    say(f'{path.name}: {len(names)} files, {path.stat().st_size/1e3:.0f} kB')

# ---------------------------------------------------------------- install, and use

USE = """
import h5py, galaxy_ssl
from fastai.basics import set_seed
from galaxy_ssl.baseline import classifier_learner, evaluate
from galaxy_ssl.core import create_encoder, load_encoder
from galaxy_ssl.data import get_survey, make_splits, simulate_survey, survey_dls
set_seed(0)
s = simulate_survey('sim_sdss', 60, size=32, seed=0)
with h5py.File('tiny.h5','w') as f:
    f['images'],f['ans'] = s.images,s.labels
    f.attrs.update(classes=s.classes, simulated=True)
s = get_survey('tiny.h5')
train,valid,test = make_splits(s.labels)
dls = survey_dls(s, train, valid, bs=16)
assert load_encoder('simulated').info['dtype']=='float16'
learn = classifier_learner(dls, create_encoder(), 'linear')
with learn.no_bar(), learn.no_logging(): learn.fit_cosine(2)
r = evaluate(learn, dls.test_dl(test))
assert 0<=r['macro_f1']<=1 and r['n']==len(test)
print(galaxy_ssl.__file__)
"""

def install(wheel, tmp, borrow=False):
    "A new environment that holds the wheel, and its dependencies from PyPI or from this Python"
    venv.create(tmp/'env', with_pip=True)
    py = tmp/'env'/'bin'/'python'
    run(py, '-m', 'pip', 'install', '-q', '--disable-pip-version-check', *(['--no-deps'] if borrow else []), wheel)
    if borrow:
        site = Path(run(py, '-c', "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        (site/'borrowed.pth').write_text('\n'.join(dict.fromkeys(sysconfig.get_path(o) for o in ('purelib','platlib'))))
    return py

def use(py, tmp):
    "The command and the modules, in a folder that knows nothing of the checkout"
    away = tmp/'away'
    away.mkdir()
    env = {k:v for k,v in os.environ.items() if not k.startswith('PYTHON')} | dict(PYTHONWARNINGS='ignore', MPLBACKEND='Agg', GALAXY_SSL_DATA=str(away/'data'), PATH=f"{py.parent}{os.pathsep}{os.environ['PATH']}")
    do = lambda *args: run(*args, cwd=away, env=env)
    command = py.parent/S['console_scripts'].split('=')[0]
    assert do(command,'--version').split()==[S['lib_name'],S['version']]
    assert 'sim_decals' in do(command,'list')
    where = Path(do(py,'-c',USE).split()[-1])
    assert py.parent.parent.resolve() in where.resolve().parents, f'{where} is not in the new environment'
    grid = command,'grid','--surveys','tiny.h5','--n','3','--methods','majority,random','--size','32','--out-dir','out'
    assert '2 runs: 0 done, 2 to go' in (said:=do(*grid,'--dry-run')), said
    assert not list(away.glob('out/*.csv'))
    do(*grid)
    assert len((away/'out'/'results.csv').read_text().splitlines())==3 and list((away/'out'/'notebooks').glob('*.ipynb'))
    say('installed and used:', where.parent.name, 'list, a classifier, a grid planned and run')

# ---------------------------------------------------------------- the notebooks without nbdev

def left_out(cell):
    "What `nbdev_test` leaves out too: cells that export, and those marked `eval: false` or `notest`"
    src = source(cell)
    return cell['cell_type']!='code' or 'nbdev_export(' in src or re.search(rf"^#\|\s*(eval:\s*false|{S['tst_flags']})\s*$", src, re.M)

def run_notebooks(names=()):
    "Run each notebook in a kernel of its own; nothing is written"
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    failed = []
    for p in NOTEBOOKS:
        if names and p.stem not in names: continue
        nb,start = nbformat.read(p, 4),time.time()
        nb.cells = [o for o in nb.cells if not left_out(o)]
        try: NotebookClient(nb, timeout=1800, kernel_name='python3', resources=dict(metadata=dict(path=str(p.parent)))).execute(env={**os.environ,'IN_TEST':'1'})
        except CellExecutionError as e: failed.append(p.stem); say(f'{p.stem}:\n{e}')
        say(f"{p.stem}: {'failed' if p.stem in failed else 'passed'} after {time.time()-start:.0f} s")
    if failed: sys.exit(f"failed: {', '.join(failed)}")

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--dist', type=Path, metavar='DIR', help='folder of a wheel and an sdist; without it they are built')
    p.add_argument('--borrow', action='store_true', help='take the dependencies of this Python instead of downloading them')
    p.add_argument('--notebooks', nargs='*', metavar='NAME', help='run these notebooks, or all, with what is installed, and nothing else')
    args = p.parse_args()
    if args.notebooks is not None: return run_notebooks(args.notebooks)
    with tempfile.TemporaryDirectory() as tmp:
        dist = args.dist or build(Path(tmp))
        wheel,sdist = one(dist,'*.whl'),one(dist,'*.tar.gz')
        run(sys.executable, '-m', 'twine', 'check', '--strict', wheel, sdist)
        look_into_wheel(wheel)
        look_into_sdist(sdist)
        use(install(wheel.resolve(), Path(tmp), args.borrow), Path(tmp))

if __name__=='__main__': main()
