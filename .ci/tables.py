"""Show tables of notebooks as Markdown: `python .ci/tables.py`, or with the names of some.

A page with HTML in an output makes Quarto load scripts from the network. Tables of pandas and of fastai become Markdown tables,
HTML beside Markdown is dropped, and so are progress bars and outputs that show nothing."""
import json, re, sys
from html.parser import HTMLParser
from pathlib import Path
from galaxy_ssl.base.utils import md_table

NBS = Path(__file__).resolve().parent.parent/'nbs'

class Table(HTMLParser):
    "The rows of all tables in some HTML: lists of (text, is a heading); a cell that spans others is repeated"
    def __init__(self, html):
        super().__init__()
        self.rows,self.cell,self.below = [],None,{}       # below: column -> (rows to come, cell)
        self.feed(html)
        self._from_above()
    def _from_above(self):
        while self.rows and (n:=len(self.rows[-1])) in self.below:
            k,cell = self.below.pop(n)
            self.rows[-1].append(cell)
            if k>1: self.below[n] = k-1,cell
    def handle_starttag(self, tag, attrs):
        if tag=='tr':
            self.rows.append([])
            self._from_above()
        elif tag in ('td','th'): self.cell,self.head,self.attrs = [],tag=='th',dict(attrs)
    def handle_data(self, data):
        if self.cell is not None: self.cell.append(data)
    def handle_endtag(self, tag):
        if tag not in ('td','th') or self.cell is None: return
        cell = ' '.join(''.join(self.cell).split()),self.head
        self.cell = None
        for _ in range(int(self.attrs.get('colspan') or 1)):
            if (k:=int(self.attrs.get('rowspan') or 1))>1: self.below[len(self.rows[-1])] = k-1,cell
            self.rows[-1].append(cell)
        self._from_above()

def _number(s): return bool(re.fullmatch(r'[-+−]?[\d.,]+(e[-+]?\d+)?%?|nan|NaN|None|True|False|[-+]?inf||–|\d+:\d+', s))

def markdown(
    html # of an output that holds one table
):       # a Markdown table, or None where there is no table
    "An HTML table as Markdown; an index that only counts the rows is left out"
    rows = [r for r in Table(html).rows if r]
    if not rows: return None
    heads = [r for r in rows if all(h for _,h in r)] or [rows[0]]
    body = [r for r in rows if r not in heads]
    n = max(map(len, rows))
    text = lambda r: [s for s,_ in r]+['']*(n-len(r))
    head,body = [' '.join(filter(None, o)) for o in zip(*map(text, heads))],[*map(text, body)]
    if body and not head[0] and [r[0] for r in body]==[str(i) for i in range(len(body))]: head,body = head[1:],[r[1:] for r in body]
    return md_table(head, body, left=[h for i,h in enumerate(head) if not body or not all(_number(r[i]) for r in body)])

def _says(html): return bool('<img' in html or '<svg' in html or re.sub(r'<style.*?</style>|<[^>]+>', '', html, flags=re.S).strip())

def plain(
    output # of a cell
):         # the same, or None where nothing is left
    "An output without HTML"
    d = output.get('data')
    if output['output_type']=='stream': return output if ''.join(output['text']).strip() else None
    if d is None: return output
    html,md = ''.join(d.pop('text/html', '')),''.join(d.get('text/markdown', ''))
    if '<progress' in html+md or md.startswith('```html') or html and not _says(html): return None
    if html and not md and (table:=markdown(html)): d['text/markdown'] = table
    empty = not d or set(d)=={'text/plain'} and re.fullmatch(r'\s*|<IPython\.core\.display\.\w+ object>|<Figure size .*>', ''.join(d['text/plain']))
    return None if empty else output

def mend(path):
    "Rewrite a notebook where an output changes, and say whether one did"
    nb = json.loads(path.read_text(encoding='utf-8'))
    old = json.dumps(nb)
    for c in nb['cells']:
        if 'outputs' in c: c['outputs'] = [o for o in map(plain, c['outputs']) if o]
    if json.dumps(nb)==old: return False
    path.write_text(json.dumps(nb, ensure_ascii=False, indent=1, sort_keys=True)+'\n', encoding='utf-8')
    return True

if __name__=='__main__':
    paths = [NBS/f"{o.removesuffix('.ipynb')}.ipynb" for o in sys.argv[1:]] or sorted(o for o in NBS.rglob('*.ipynb') if '/.' not in str(o))
    for p in paths:
        if mend(p): print(p.relative_to(NBS))
