"The shape of the code, so that it stays readable: short cells with one definition each, small modules, imports that run one way and cost little. No network."
import ast, re, statistics, subprocess, sys
from functools import lru_cache
import pytest
from house import NOTEBOOKS, ROOT, name_of, read_nb, source

PACKAGE = ROOT/'galaxy_ssl'
MODULES = {'.'.join(o.relative_to(PACKAGE).with_suffix('').parts):o for o in sorted(PACKAGE.rglob('*.py')) if not o.stem.startswith('_')}
CHAPTERS = ['data','augment','simclr','autoencoder','baseline','experiments','simulated','mae','dino']
DEFINITIONS = ast.FunctionDef,ast.ClassDef
IMPORTS = ast.Import,ast.ImportFrom

def code(cell): return '\n'.join(o for o in source(cell).split('\n') if not o.startswith(('#|','%','!')))
def exported(cell): return bool(re.search(r'^#\|\s*exports?\b', source(cell), re.M))
def lines(text): return [o for o in text.split('\n') if o.strip()]

@lru_cache(maxsize=None)
def cells(export):
    "(notebook, code, syntax tree) of all cells that define or run something, exported or not"
    found = [(name_of(p), c, code(c)) for p in NOTEBOOKS for c in read_nb(p)['cells'] if c['cell_type']=='code' and exported(c)==export and 'default_exp' not in source(c)]
    return [(n, t, ast.parse(t).body) for n,c,t in found if t.strip() and not all(isinstance(o, IMPORTS) for o in ast.parse(t).body)]

def share(wrong, of): return 100*len(wrong)/len(of)

# ---------------------------------------------------------------- cells

def test_an_exported_cell_is_short():
    n = [len(lines(t)) for _,t,_ in cells(True)]
    assert statistics.median(n)<=12
    long = [(name,t.strip().split('\n')[0]) for name,t,_ in cells(True) if len(lines(t))>30]
    assert share(long, n)<=5, long

def test_an_exported_cell_has_one_definition():
    several = [(name,[o.name for o in body if isinstance(o, DEFINITIONS)]) for name,_,body in cells(True)]
    several = [o for o in several if len(o[1])>1]
    assert share(several, cells(True))<=20, several

def test_lines_are_no_wider_than_a_page():
    every = [(name,o) for name,t,_ in cells(True) for o in lines(t)]
    wide = [o for o in every if len(o[1])>120]
    assert share(wide, every)<=2, wide

def test_a_demonstration_is_a_few_lines(): assert statistics.median(len(lines(t)) for _,t,_ in cells(False))<=4

def test_imports_stand_alone():
    "The site runs cells with imports by themselves, where a notebook exports anything"
    exporting = {name for name,_,_ in cells(True)}
    assert not [(name,t[:80]) for name,t,body in cells(False) for o in ast.walk(ast.Module(body, [])) if name in exporting and isinstance(o, IMPORTS)]

def test_few_parameters():
    many = {}
    for name,_,body in cells(True):
        for o in (f for f in body if isinstance(f, ast.FunctionDef) and not f.name.startswith('_')):
            a = [p.arg for p in o.args.args+o.args.kwonlyargs if p.arg!='self']
            if len(a)>8: many[f'{name}: {o.name}'] = len(a)
    assert not many

# ---------------------------------------------------------------- modules

def test_modules_are_small():
    large = {k:n for k,p in MODULES.items() if (n:=len(p.read_text(encoding='utf-8').split('\n')))>450}
    assert not large

@lru_cache(maxsize=None)
def imported(name):
    "(module of this package, names) that a module imports anywhere"
    here,found = ['galaxy_ssl',*name.split('.')[:-1]],[]
    for o in ast.walk(ast.parse(MODULES[name].read_text(encoding='utf-8'))):
        if isinstance(o, ast.ImportFrom) and o.level:
            base = here[:len(here)-o.level+1]+(o.module.split('.') if o.module else [])
            found.append(('.'.join(base[1:]), [a.name for a in o.names]))
    return found

def test_no_private_names_of_other_modules():
    assert not [(k,m,o) for k in MODULES for m,names in imported(k) for o in names if re.match('_[^_]', o)]

def test_chapters_import_no_later_chapter():
    for i,k in enumerate(CHAPTERS): assert not [m for m,_ in imported(k) if m in CHAPTERS[i:]], k

def test_shelves_import_downwards():
    "base, survey, engine, then the chapters and the study above them"
    rank = lambda m: next((i for i,o in enumerate(('base','survey','engine','data','augment')) if m.split('.')[0]==o), 9)
    up = [(k,m) for k in MODULES if k!='core' for m,_ in imported(k) if m and rank(m)>rank(k)]
    assert not up

def loaded(statement, names):
    "Which of these modules a fresh Python has loaded after a statement"
    r = subprocess.run([sys.executable,'-W','ignore','-c',f"import sys; {statement}; print(*[o for o in {names!r} if o in sys.modules])"], capture_output=True, text=True, check=True)
    return r.stdout.split()

@pytest.mark.parametrize('name', ['data','experiments'])
def test_imports_leave_out_what_may_wait(name): assert loaded(f'import galaxy_ssl.{name}', ['papermill','astropy','imagehash','timm','IPython'])==[]   # fastai itself loads scikit-learn, SciPy and requests

def test_the_command_starts_light(): assert loaded('import galaxy_ssl.study.cli', ['torch','fastai','numpy','pandas','matplotlib','cv2','requests'])==[]
