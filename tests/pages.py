"A page as the site will have it: a notebook after nbdev's own steps, which need no Quarto"
import os, re
from pathlib import Path
from house import NBS, ROOT

def process(names):
    "Pages by name: dicts with `error`, or with `front` (YAML), `cells` (Markdown) and `shown` (Markdown that code cells show)"
    os.environ['IN_TEST'] = '1'
    os.chdir(ROOT)
    from execnb.nbio import read_nb
    from nbdev.processors import FilterDefaults
    return {o:_process(o, read_nb, FilterDefaults()) for o in names}

def _process(name, read_nb, steps):
    nb = read_nb(NBS/f'{name}.ipynb')
    try: steps(nb)
    except Exception as e: return dict(error=f'{e}: {e.__cause__!r}')
    md = [c.source for c in nb.cells if c.cell_type=='markdown']
    shown = [''.join(o['data']['text/markdown']) for c in nb.cells for o in c.get('outputs',()) if 'text/markdown' in o.get('data',{})]
    return dict(front=next((c.source for c in nb.cells if c.cell_type=='raw'), ''), cells=md, shown=shown)

# ---------------------------------------------------------------- what a page holds

FENCE = re.compile(r'^ *```.*?^ *```', re.M|re.S)
LINK = re.compile(r'\[([^\]]*)\]\(([^)\s]+)\)')

def fenced_links(text): return [m[0] for b in FENCE.findall(text) for m in LINK.finditer(b) if re.match(r'https?:|[\w./]+(\.ipynb|\.html)', m[2])]
def nested_links(text): return re.findall(r'\[[^\]\n]*\[[^\]\n]+\]\([^)\n]+\)[^\]\n]*\]\(', FENCE.sub('', text))
def links(text): return [m[2] for m in LINK.finditer(FENCE.sub('', text))]
def plain(text): return ' '.join(LINK.sub(r'\1', text).split())

def anchor(heading):
    "The id that Pandoc gives a heading"
    h = LINK.sub(r'\1', re.sub(r'\s*\{.*?\}\s*$', '', heading)).lower()
    return re.sub(r'^[^a-z]+', '', re.sub(r'\s+', '-', re.sub(r'[^\w\s.-]', '', h).strip()))

def anchors(page):
    text = FENCE.sub('', '\n\n'.join([*page['cells'],*page['shown']]))
    return {*map(anchor, re.findall(r'^#{1,6} (.+)$', text, re.M)), *re.findall(r'(?:\{#|id=")([\w.-]+)', text)}

def output_file(name, page):
    "Where the page lies on the site"
    m = re.search(r'^output-file: (.+)$', page.get('front',''), re.M)
    return str(Path(name).parent/m[1]) if m else f'{name}.html'
