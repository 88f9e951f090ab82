"The house: README, site, settings and notebooks agree with each other. Runs in a second, no network, no Quarto."
import json, re, subprocess
from configparser import ConfigParser
from pathlib import Path
import pytest, yaml

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT/'nbs'
NOTEBOOKS = sorted(o for o in NBS.glob('*.ipynb') if not o.name.startswith(('_','.')))
HERE = re.compile('|'.join(f'/{o}' for o in ('work/','root/','tmp/venv')))  # paths of some machine
notebooks = pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda o:o.stem)

def read_nb(path): return json.loads(path.read_text(encoding='utf-8'))
def source(cell): return ''.join(cell['source'])
def settings():
    p = ConfigParser(delimiters=['='], interpolation=None)
    p.read(ROOT/'settings.ini', encoding='utf-8')
    return p['DEFAULT']
def quarto(): return yaml.safe_load((ROOT/'_quarto.yml').read_text(encoding='utf-8'))
def strings(o):
    "All strings in nested lists and dictionaries"
    if isinstance(o,str): yield o
    elif isinstance(o,dict):
        for v in o.values(): yield from strings(v)
    elif isinstance(o,list):
        for v in o: yield from strings(v)
def tracked():
    try: r = subprocess.run(['git','ls-files','-z'], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError,subprocess.CalledProcessError): pytest.skip('not a git checkout')
    return [o for o in map(ROOT.joinpath, filter(None, r.split('\0'))) if o.is_file()]

# ---------------------------------------------------------------- README

def to_readme(text): return re.sub(r'\]\((?!https?:|#|mailto:)([^)]+)\)', r'](nbs/\1)', text)

def test_readme_is_the_index():
    readme,at = (ROOT/'README.md').read_text(encoding='utf-8'),0
    for c in read_nb(NBS/'index.ipynb')['cells']:
        if c['cell_type']!='markdown': continue
        text = to_readme(source(c)).strip()
        found = readme.find(text, at)
        assert found>=0, f"README.md is older than nbs/index.ipynb, or in another order: it lacks {text[:80]!r}"
        at = found+len(text)

def test_readme_code_is_the_index():
    blocks = re.findall(r'^```python\n(.*?)^```', (ROOT/'README.md').read_text(encoding='utf-8'), re.M|re.S)
    cells = [source(c) for c in read_nb(NBS/'index.ipynb')['cells'] if c['cell_type']=='code']
    cells = [re.sub(r'^#\|.*\n?', '', o, flags=re.M).strip() for o in cells if not re.search(r'^#\|\s*hide\b', o, re.M)]
    assert [o.strip() for o in blocks]==cells

def test_readme_links_lead_somewhere():
    for o in re.findall(r'\]\((?!https?:|#|mailto:)([^)#]+)', (ROOT/'README.md').read_text(encoding='utf-8')): assert (ROOT/o).exists(), o

def test_readme_has_both_commands_once():
    lines = (ROOT/'README.md').read_text(encoding='utf-8').splitlines()
    for o in ('nbdev_test', r'papermill .* out\.ipynb'): assert sum(bool(re.match(f'python3 .*{o}', l)) for l in lines)==1, o

# ---------------------------------------------------------------- site

def test_sidebar_holds_every_notebook_once():
    names = [o for o in strings(quarto()['website']['sidebar']['contents']) if o.endswith('.ipynb')]
    assert sorted(names)==[o.name for o in NOTEBOOKS]
    assert names[0]=='index.ipynb'

def test_files_named_by_quarto_exist():
    q = quarto()
    files = {o for o in strings(q) if re.fullmatch(r'[\w./-]+\.(ipynb|qmd|css|scss|png|svg|ico|yml|html|js)', o)}
    assert {'styles.css','favicon.png'}<=files
    assert not [o for o in files if not (NBS/o).is_file()]

def test_quarto_agrees_with_settings():
    q,s = quarto(),settings()
    assert q['project']['output-dir']==Path(s['doc_path']).name
    assert q['website']['title']==s['title']
    assert q['website']['repo-url']==s['git_url']
    assert q['website']['site-url']==s['doc_host']+s['doc_baseurl']
    assert s['custom_quarto_yml']==s['custom_sidebar']=='True'

def test_nbs_quarto_is_a_link():
    assert (NBS/'_quarto.yml').is_symlink()
    assert str((NBS/'_quarto.yml').readlink())=='../_quarto.yml'

# ---------------------------------------------------------------- settings and notebooks

def test_clean_keeps_tags(): assert settings()['allowed_cell_metadata_keys']=='tags'

def test_constraints_name_every_requirement():
    name = lambda o: re.split(r'[<>=!~\[ ]', o)[0].lower().replace('_','-')
    pins = [o for o in (ROOT/'constraints.txt').read_text().splitlines() if o and o[0]!='#']
    assert all(re.fullmatch(r'[\w.-]+==[\w.]+', o) for o in pins)
    s = settings()
    assert not {name(o) for k in ('requirements','dev_requirements') for o in s[k].split()}-{name(o) for o in pins}

def test_one_parameters_cell():
    tagged = [c for c in read_nb(NBS/'05_experiments.ipynb')['cells'] if 'parameters' in c['metadata'].get('tags',())]
    assert len(tagged)==1 and tagged[0]['cell_type']=='code'

@notebooks
def test_no_error_outputs(path):
    assert not [source(c)[:80] for c in read_nb(path)['cells'] for o in c.get('outputs',()) if o['output_type']=='error']

@notebooks
def test_opens_with_title_and_subtitle(path):
    text = '\n'.join(source(c) for c in read_nb(path)['cells'][:2] if c['cell_type']=='markdown')
    assert re.match(r'# \S.*\n\n> \S', text)

def test_no_machine_paths():
    bad = []
    for p in tracked():
        try: text = p.read_text(encoding='utf-8')
        except UnicodeDecodeError: continue
        if m:=HERE.search(text): bad.append(f'{p.relative_to(ROOT)}: …{text[max(0,m.start()-30):m.end()+30]}…')
    assert not bad
