"Make README.md from nbs/index.ipynb: `python .ci/readme.py`, or with --check say whether it is up to date"
import json, re, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

def _link(text):
    "The links and images of a page, from the folder above"
    text = re.sub(r'\]\((?!https?:|#|mailto:)([^)]+)\)', r'](nbs/\1)', text)
    return re.sub(r'\b(src|srcset)="(?!https?:)', r'\1="nbs/', text)

def _output(o):
    "What a cell printed or showed, as Markdown; pictures are left out"
    if o['output_type']=='stream': return '```\n'+''.join(o['text']).rstrip()+'\n```'
    d = o.get('data',{})
    if 'text/markdown' in d: return ''.join(d['text/markdown']).strip()
    return '' if 'image/png' in d else '```\n'+''.join(d.get('text/plain','')).rstrip()+'\n```'

def readme(
    path=ROOT/'nbs'/'index.ipynb' # the notebook
)->str:                           # Markdown
    "A notebook as the README of the folder above it"
    parts = []
    for c in json.loads(Path(path).read_text(encoding='utf-8'))['cells']:
        text = ''.join(c['source']).strip()
        directives = re.findall(r'^#\|\s*(.+?)\s*$', text, re.M)
        if c['cell_type']=='markdown': parts.append(_link(text))
        elif c['cell_type']=='code' and 'hide' not in directives:
            if 'echo: false' not in directives: parts.append('```python\n'+re.sub(r'^#\|.*\n?', '', text, flags=re.M).strip()+'\n```')
            parts += [_link(_output(o)) for o in c['outputs']]
    return '\n\n'.join(filter(None, parts))+'\n'

if __name__=='__main__':
    f = ROOT/'README.md'
    if '--check' in sys.argv: sys.exit(0 if f.read_text(encoding='utf-8')==readme() else 'README.md is not what nbs/index.ipynb makes; run python .ci/readme.py')
    f.write_text(readme(), encoding='utf-8')
