"Every notebook through nbdev's own steps: no error, no text lost, no link in a code fence, no link that leads nowhere."
import os, re
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import pytest
from house import NBS, NOTEBOOKS, name_of, read_nb, settings, source
from pages import anchors, fenced_links, links, nested_links, output_file, plain, process

notebooks = pytest.mark.parametrize('name', [name_of(o) for o in NOTEBOOKS])
SITE = settings()['doc_host']+settings()['doc_baseurl']+'/'

@pytest.fixture(scope='module')
def pages():
    "All pages, made in two processes of one thread each"
    names = sorted(map(name_of, NOTEBOOKS), key=lambda o: -(NBS/f'{o}.ipynb').stat().st_size)
    old = os.environ.get('OMP_NUM_THREADS')
    os.environ['OMP_NUM_THREADS'] = '1'
    try:
        with ProcessPoolExecutor(2, mp_context=get_context('spawn')) as ex: return {k:v for part in ex.map(process, (names[::2],names[1::2])) for k,v in part.items()}
    finally: os.environ.pop('OMP_NUM_THREADS') if old is None else os.environ.update(OMP_NUM_THREADS=old)

def page_of(pages, name):
    if 'error' in pages[name]: pytest.skip('it cannot be made')
    return pages[name]

@notebooks
def test_can_be_made(pages, name): assert 'error' not in pages[name], pages[name]['error']

@notebooks
def test_no_text_is_lost(pages, name):
    "nbdev deletes the first cell after it took the title and the line below; the rest must be there still"
    page,first,*rest = page_of(pages, name),*[source(c) for c in read_nb(NBS/f'{name}.ipynb')['cells'] if c['cell_type']=='markdown']
    title = re.fullmatch(r'# (\S.*)\n+> (\S.*)', first.strip())
    assert title, f'the first cell holds more than a title and one line:\n{first}'
    text = plain(' '.join(page['cells']))
    assert not [o for o in rest if plain(o) not in text]
    assert all(plain(o)[:20] in plain(page['front']).replace("''","'") for o in title.groups())

@notebooks
def test_no_link_in_a_code_fence(pages, name):
    page = page_of(pages, name)
    assert not [o for text in [*page['cells'],*page['shown']] for o in fenced_links(text)]

@notebooks
def test_no_link_in_a_link(pages, name):
    "nbdev makes links of names in backticks, also inside a link"
    page = page_of(pages, name)
    assert not [o for text in [*page['cells'],*page['shown']] for o in nested_links(text)]

@notebooks
def test_signatures_say_what_to_pass(pages, name):
    "No list of fastai's events, no *args alone, no NoneType"
    entries = [o for text in page_of(pages, name)['shown'] for o in re.findall(r'^```python\n((?:class|def|async def) .*?)\n```', text, re.M|re.S)]
    assert not [o for o in entries if re.search(r'\bafter_create\b|:NoneType|^(class|def) [A-Z]\w*\(\n +\*args, \*\*kwargs\n\)', o)]

@notebooks
def test_links_and_anchors_lead_somewhere(pages, name):
    page,made = page_of(pages, name),{k:v for k,v in pages.items() if 'error' not in v}
    at = {output_file(k, v):v for k,v in made.items()}
    def dead(link):
        file,_,mark = link.partition('#')
        if link.startswith(SITE): target = at.get(file.removeprefix(SITE))
        elif re.match(r'https?:|mailto:', link): return False
        elif not file: target = page
        else:
            f = (NBS/name).parent/file
            if f.suffix!='.ipynb': return not f.exists()
            target = made.get(os.path.relpath(f, NBS).removesuffix('.ipynb'))
        return target is None or bool(mark) and mark.lower() not in anchors(target)
    assert not sorted({o for text in [*page['cells'],*page['shown']] for o in links(text) if dead(o)})

# ---------------------------------------------------------------- the checks themselves

def test_what_is_wrong_is_found():
    fence = '```python\nx = 1 # of [`y`](https://host/y.html#y)\n```\n[text](a.ipynb#b)'
    assert fenced_links(fence)==['[`y`](https://host/y.html#y)'] and links(fence)==['a.ipynb#b']
    assert nested_links('[[`y`](https://host/y.html#y)](y.ipynb)') and not nested_links('[y](y.ipynb) and [`z`](z.html) ([page](p.ipynb))')
    page = dict(cells=['## One, *two* and `three`\n```\n## no heading\n```'], shown=['### Survey.table {#here}'])
    assert anchors(page)>={'one-two-and-three','survey.table','here'} and 'no-heading' not in anchors(page)
    assert plain('see [the\npage](x.ipynb)')=='see the page'
