"The house: README, site, settings and notebooks agree with each other. Runs in a second, no network, no Quarto."
import importlib.util, json, re, subprocess, sys
from functools import lru_cache
from pathlib import Path
import pytest, yaml
from house import NBS, NOTEBOOKS, ROOT, name_of, read_nb, settings, source

spec = importlib.util.spec_from_file_location('tables', ROOT/'.ci'/'tables.py')
tables = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tables)

HERE = re.compile('|'.join(f'/{o}' for o in ('work/','root/','tmp/venv')))  # paths of some machine
notebooks = pytest.mark.parametrize('path', NOTEBOOKS, ids=name_of)

@lru_cache(maxsize=None)
def readme(): return (ROOT/'README.md').read_text(encoding='utf-8')
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

def test_readme_is_the_index():
    r = subprocess.run([sys.executable,str(ROOT/'.ci'/'readme.py'),'--check'], capture_output=True, text=True)
    assert r.returncode==0, r.stderr
    for c in read_nb(NBS/'index.ipynb')['cells']: assert 'echo: false' in source(c) or '#| hide' in source(c) or source(c).split('\n')[-1].split('](')[0].strip() in readme()

def test_readme_links_lead_somewhere():
    links = re.findall(r'\]\((?!https?:|#|mailto:)([^)#]+)', readme())+re.findall(r'(?:src|srcset)="(?!https?:)([^"]+)"', readme())
    for o in links: assert (ROOT/o).exists(), o

def test_readme_has_both_commands_once():
    lines = readme().splitlines()
    for o in ('nbdev_test', r'papermill .* out\.ipynb'): assert sum(bool(re.match(f'python3 .*{o}', l)) for l in lines)==1, o

INSTALL = f"pip install git+{settings()['git_url']}"

def test_front_page_begins_with_what_readers_look_for():
    "What it is, the install line, a figure with a tall form for phones; then results, then how to classify"
    first,*rest = re.split(r'^## ', readme(), flags=re.M)
    assert [o.split('\n')[0] for o in rest][:2]==['Results on real galaxies','Classify my galaxies']
    assert first.index(INSTALL)<first.index('<picture>')<first.index('](nbs/tutorial.ipynb)')
    assert re.search(r'<source media="\(max-width: 600px\)" srcset="nbs/images/\w+_tall\.webp"', first)

def test_front_page_is_light():
    "Its images take less than a third of a megabyte"
    used = set(re.findall(r'(?:src|srcset)="nbs/([^"]+)"', readme()))
    assert used and sum((NBS/o).stat().st_size for o in used)<333_000

# ---------------------------------------------------------------- site

def test_sidebar_holds_every_notebook_once():
    names = [o for o in strings(quarto()['website']['sidebar']['contents']) if o.endswith('.ipynb')]
    assert sorted(names)==sorted(str(o.relative_to(NBS)) for o in NOTEBOOKS)
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

# ---------------------------------------------------------------- pages

def markdown(path):
    "The text of a page, and what its cells show as Markdown"
    for c in read_nb(path)['cells']:
        if c['cell_type']=='markdown': yield source(c)
        for o in c.get('outputs',()): yield ''.join(o.get('data',{}).get('text/markdown',''))

def alt_of(tag):
    "The alternative text of an <img>"
    return (re.findall(r'\balt="([^"]*)"', tag) or [''])[0]

@notebooks
def test_every_figure_says_what_it_shows(path):
    for text in markdown(path):
        for alt in re.findall(r'!\[(.*?)\]\(', text)+[*map(alt_of, re.findall(r'<img [^>]*>', text))]: assert len(alt.split())>5, f'{path.name}: {alt!r}'
    for c in read_nb(path)['cells']:
        if any('image/png' in o.get('data',{}) for o in c.get('outputs',())):
            alt = re.search(r'^#\|\s*fig-alt:\s*(.+)$', source(c), re.M)
            assert alt and len(alt.group(1).split())>5, f'{path.name}: {source(c)[:80]!r}'

@notebooks
def test_code_in_the_text_is_run_or_says_why_not(path):
    run = readme().splitlines()
    run = [o for o in run if re.match(r'python3 .*(nbdev_test|out\.ipynb)', o)]                       # .ci/run runs these two
    for text in markdown(path):
        for b in re.findall(r'^```(?:bash|sh|python)\n(.*?)^```', text, re.M|re.S):
            assert b.strip() in [*run,INSTALL] or b.startswith('# not run here: '), f'{path.name}: {b!r}'

@notebooks
def test_outputs_need_no_network_and_show_something(path):
    "HTML in an output makes Quarto load scripts from the network; nothing is left of progress bars"
    for c in read_nb(path)['cells']:
        for o in c.get('outputs',()):
            assert tables.plain(json.loads(json.dumps(o)))==o, f'{path.name}: run python .ci/tables.py; {source(c)[:80]!r}'

def test_the_site_needs_no_network():
    q = quarto()['format']['html']
    assert q['html-math-method']=='mathml'
    assert all('theme.scss' in q['theme'][o] for o in ('light','dark'))
    assert re.search(r'^\$web-font-path: false;', (NBS/'theme.scss').read_text(), re.M)
    assert not re.search(r'https?://', (NBS/'styles.css').read_text()+(NBS/'theme.scss').read_text())

# ---------------------------------------------------------------- the checks themselves

FRAME = """<table border="1" class="dataframe"><thead><tr><th></th><th>class</th><th>F1</th></tr></thead>
<tbody><tr><th>0</th><td>a|b</td><td>0.5</td></tr><tr><th>1</th><td>c</td><td>1.0</td></tr></tbody></table>"""
def shown(**data): return dict(output_type='display_data', metadata={}, data={k.replace('_','/'):v for k,v in data.items()})

def test_tables_become_markdown():
    assert tables.markdown(FRAME)=='| class | F1 |\n| :-- | --: |\n| a\\|b | 0.5 |\n| c | 1.0 |'
    assert tables.markdown('<div>none</div>') is None
    o = tables.plain(shown(text_html=FRAME, text_plain='…'))
    assert list(o['data'])==['text/plain','text/markdown'] and tables.plain(o)==o
    assert tables.plain(shown(text_html='<b>x</b>', text_markdown='**x**'))['data']=={'text/markdown':'**x**'}

SPANS = """<table><thead><tr><th></th><th></th><th colspan="2">F1</th></tr><tr><th>mode</th><th>first</th><th>a</th><th>b</th></tr></thead>
<tbody><tr><th rowspan="2">linear</th><th>crop</th><td>1</td><td>2</td></tr><tr><th>noise</th><td>3</td><td>4</td></tr>
<tr><th>none</th><th>gray</th><td>5</td><td>6</td></tr></tbody></table>"""

def test_cells_that_span_others_are_repeated():
    assert tables.markdown(SPANS).splitlines()==['| mode | first | F1 a | F1 b |', '| :-- | :-- | --: | --: |',
        '| linear | crop | 1 | 2 |', '| linear | noise | 3 | 4 |', '| none | gray | 5 | 6 |']

def test_an_index_that_says_something_is_kept():
    assert tables.markdown(FRAME.replace('<th>0</th>','<th>x</th>')).splitlines()[0]=='|  | class | F1 |'

@pytest.mark.parametrize('o', [shown(text_html='<div></div>', text_plain=''), shown(text_plain='<Figure size 640x480 with 0 Axes>'),
    shown(text_html='<div><progress value="0"></progress> 0.00% [0/10 00:00&lt;?]</div>', text_markdown='```html\n<div>…'),
    dict(output_type='stream', name='stdout', text='\n')], ids=['empty','figure','bar','blank'])
def test_what_shows_nothing_is_dropped(o): assert tables.plain(o) is None

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
    assert re.fullmatch(r'# \S.*\n\n> \S.*', source(read_nb(path)['cells'][0]).strip())

def test_no_machine_paths():
    bad = []
    for p in tracked():
        try: text = p.read_text(encoding='utf-8')
        except UnicodeDecodeError: continue
        if m:=HERE.search(text): bad.append(f'{p.relative_to(ROOT)}: …{text[max(0,m.start()-30):m.end()+30]}…')
    assert not bad
