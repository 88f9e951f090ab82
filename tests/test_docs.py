"Every public name says what it does, what each of its parameters means, and is shown at work in a notebook. No network."
import dataclasses, importlib, inspect, json, re
from functools import cached_property
import pytest
from fastai.basics import Callback
from fastcore.docments import docments
from house import NOTEBOOKS, ROOT, source

MODULES = sorted('.'.join(o.relative_to(ROOT/'galaxy_ssl').with_suffix('').parts) for o in (ROOT/'galaxy_ssl').rglob('*.py') if not o.stem.startswith('_'))
modules = pytest.mark.parametrize('name', MODULES)

def shown(nbs):
    "The words of all code cells that no module is made of"
    cells = [c for p in nbs for c in json.loads(p.read_text(encoding='utf-8'))['cells'] if c['cell_type']=='code']
    return {w for c in cells if not re.search(r'^#\|\s*(export|default_exp)', source(c), re.M) for w in re.findall(r'\w+', re.sub(r'#.*', '', source(c)))}
@pytest.fixture(scope='module')
def words(): return shown(NOTEBOOKS)

def public(mod): return {o:getattr(mod,o) for o in mod.__all__ if '.' not in o}
def definitions(mod): return {k:o for k,o in public(mod).items() if callable(o) and getattr(o,'__module__',None)==mod.__name__}

def fields(cls):
    "The fields of a dataclass or NamedTuple and the comment beside each, '' for none"
    names = [o.name for o in dataclasses.fields(cls) if o.init] if dataclasses.is_dataclass(cls) else cls._fields
    src = inspect.getsource(cls)
    return {o:(re.findall(rf'^ +{o} *:.*?# *(\S.*)', src, re.M) or [''])[0] for o in names if o in cls.__dict__.get('__annotations__',{})}

def parameters(o):
    "The parameters that `o` itself declares, and what docments knows of each; inherited ones are the ancestor's to explain"
    if inspect.isclass(o):
        if dataclasses.is_dataclass(o) or hasattr(o,'_fields'): return fields(o)
        if '__init__' not in vars(o): return {}
        o = o.__init__
    o = inspect.unwrap(o)
    docs,code = docments(o, args_kwargs=True),o.__code__
    delegated = hasattr(o, '__delwrap__')                       # whose further arguments are another's to explain
    n = code.co_argcount+code.co_kwonlyargcount+bool(code.co_flags&inspect.CO_VARARGS)+(bool(code.co_flags&inspect.CO_VARKEYWORDS) and not delegated)
    return {k:docs.get(k) for k in code.co_varnames[:n] if k!='self'}

def methods(cls):
    "Public methods and properties that `cls` itself defines, without fastai's events"
    event = re.compile('before_|after_' if issubclass(cls, Callback) else '$.')
    for k,v in vars(cls).items():
        f = getattr(v,'__func__',v)
        if not k.startswith('_') and not event.match(k) and k not in cls.__dict__.get('__annotations__',{}) and (inspect.isfunction(f) or isinstance(f,(property,cached_property))): yield k

def documented(cls, m):
    "Whether method `m` has a docstring in `cls` or in an ancestor of the same package"
    ours = [c for c in cls.__mro__ if c.__module__.split('.')[0]==cls.__module__.split('.')[0]]
    return any((getattr(c.__dict__.get(m),'__doc__',None) or '').strip() for c in ours)

def undocumented(mod):
    for k,o in definitions(mod).items():
        if not (own:=o.__doc__ or '').strip() or inspect.isclass(o) and own.startswith(f'{k}('): yield k
        if inspect.isclass(o): yield from (f'{k}.{m}' for m in methods(o) if not documented(o, m))
def unexplained(mod): return [f'{k}: {p}' for k,o in definitions(mod).items() for p,d in parameters(o).items() if not (d or '').strip()]
def unshown(mod, words): return [k for k in public(mod) if k not in words]

@modules
def test_docstrings(name): assert not list(undocumented(importlib.import_module(f'galaxy_ssl.{name}')))

@modules
def test_parameters(name): assert not unexplained(importlib.import_module(f'galaxy_ssl.{name}'))

@modules
def test_examples(name, words): assert not unshown(importlib.import_module(f'galaxy_ssl.{name}'), words)

# ---------------------------------------------------------------- the check itself

SILENT = """
from dataclasses import dataclass
from typing import NamedTuple
__all__ = ['f','g','C','D','N','S']
def f(a, b=1, *args, **kwargs): pass
def g(
    a, # a number
    *, key=1 # another
): "All is said"
class C:
    "A class"
    def __init__(self, x): self.x = x
    def run(self): "Run"
    def stop(self): pass
    @property
    def p(self): pass
class S(C):
    def run(self): pass
@dataclass
class D:
    "Data"
    u:int  # a unit
    v:int=0
class N(NamedTuple):
    q:int
"""

def test_what_is_missing_is_found(tmp_path, monkeypatch):
    (tmp_path/'silent.py').write_text(SILENT)
    nb = dict(cells=[dict(cell_type=k, source=s) for k,s in (('code','#| export\ndef f(): g()'),('code','C(1)\nS(D) # f'),('markdown','N is a tuple'))])
    (tmp_path/'silent.ipynb').write_text(json.dumps(nb))
    monkeypatch.syspath_prepend(tmp_path)
    mod = importlib.import_module('silent')
    assert sorted(undocumented(mod))==['C.p','C.stop','N','S','f']
    assert unexplained(mod)==['f: a','f: b','f: args','f: kwargs','C: x','D: v','N: q']
    assert unshown(mod, shown([tmp_path/'silent.ipynb']))==['f','g','N']
