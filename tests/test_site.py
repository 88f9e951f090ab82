"The house: README, site, settings and notebooks agree with each other. Runs in a second, no network, no Quarto."
import re, subprocess, sys
from functools import lru_cache
from pathlib import Path
import pytest, yaml
from house import NBS, NOTEBOOKS, ROOT, name_of, read_nb, settings, source

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
    for o in re.findall(r'\]\((?!https?:|#|mailto:)([^)#]+)', readme()): assert (ROOT/o).exists(), o

def test_readme_has_both_commands_once():
    lines = readme().splitlines()
    for o in ('nbdev_test', r'papermill .* out\.ipynb'): assert sum(bool(re.match(f'python3 .*{o}', l)) for l in lines)==1, o

def test_front_page_shows_the_experiment_as_it_ran():
    "The simulated table is that of 05_experiments"
    cell = next(c for c in read_nb(NBS/'05_experiments.ipynb')['cells'] if 'results_table(study.rows)' in source(c))
    text = next(''.join(o['data']['text/plain']) for o in cell['outputs'] if 'text/plain' in o.get('data',{}))
    rows = re.findall(r'^\d+ .*? 30 +([\d.]+) +([\d.]+) +([\d.]+)', text, re.M)
    assert len(rows)==7
    for f1,err,acc in rows: assert f'| {float(f1):.3f} ± {float(err):.3f} | {float(acc):.3f} |' in readme()

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

@notebooks
def test_every_figure_says_what_it_shows(path):
    for text in markdown(path):
        for alt in re.findall(r'!\[(.*?)\]\(', text): assert len(alt.split())>5, f'{path.name}: {alt!r}'
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
            assert b.strip() in run or b.startswith('# not run here: '), f'{path.name}: {b!r}'

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
