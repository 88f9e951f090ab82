"What tests of the repository itself share: where it is, its settings, its notebooks, a cell's text"
import json, re
from configparser import ConfigParser
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT/'nbs'
NOTEBOOKS = sorted(o for o in NBS.rglob('*.ipynb') if not re.search(r'(^|/)[._]', str(o.relative_to(NBS))))

def name_of(path): return str(path.relative_to(NBS).with_suffix(''))

def settings():
    p = ConfigParser(delimiters=['='], interpolation=None)
    p.read(ROOT/'settings.ini', encoding='utf-8')
    return p['DEFAULT']

def source(cell): return ''.join(cell['source'])

@lru_cache(maxsize=None)
def read_nb(path): return json.loads(Path(path).read_text(encoding='utf-8'))
