"What tests of the repository itself share: where it is, its settings, a cell's text"
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

def settings():
    p = ConfigParser(delimiters=['='], interpolation=None)
    p.read(ROOT/'settings.ini', encoding='utf-8')
    return p['DEFAULT']

def source(cell): return ''.join(cell['source'])
