"Every number and comparison word of the pages with results, computed again from the rows by code of its own"
import copy, json, re
from functools import lru_cache
from itertools import product
import numpy as np, pandas as pd, pytest
from house import NBS, read_nb, source

PAGES = NBS/'pages'
TEXT = ('key','predictions','targets','unlabelled','views','test_survey','encoder')
WORDS = 'not told apart|could not be told apart|ahead|behind|beat|fell short|one seed|no difference|not in every case|does not hold|holds|not shown|not tested|see there|yes|no|None remains'
TOKEN = re.compile(rf'(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)*|(?<![\w-])(?:{WORDS})(?![\w-])|`\w+`')

def figures(text): return [o for o in tokens(text) if o.strip('+-')[0].isdigit()]
def tokens(text): return [o.rstrip(',') for o in TOKEN.findall(str(text).replace('−','-'))]

# ---------------------------------------------------------------- rows

KEPT = ('key','survey','n','method','mode','preset','seed','encoder_seed','label_rule','labels_used','f1','accuracy','macro_f1','macro_f1_error','confusion',
        'predictions','targets','encoder','settings','seconds','epochs','version','size','pretrain_images','pretrain_epochs','test_images')

def unpack(text): return np.array([int(c, 36) for c in text])
def f1_of(cm): return 2*np.diag(cm)/np.maximum(cm.sum(0)+cm.sum(1), 1)
def matrix(r):
    "The confusion matrix from the predictions, or the one that older rows have"
    k = len(json.loads(r.f1))
    if not r.predictions: return np.array(json.loads(r.confusion), float)
    cm = np.zeros((k,k))
    np.add.at(cm, (unpack(r.targets),unpack(r.predictions)), 1)
    return cm

@lru_cache(maxsize=None)
def read(name):
    "Rows with F1 of each class and macro-F1 computed anew"
    df = pd.read_csv(PAGES/name, dtype=dict.fromkeys(TEXT, str), low_memory=False)
    df = df.assign(**{c:df[c].fillna('') if c in df else '' for c in ('predictions','targets')})
    cms = [matrix(r) for r in df.itertuples()]
    df = df[[c for c in KEPT if c in df]]                                                # light to select from
    return df.assign(cm=cms, each=[f1_of(o) for o in cms], macro=[f1_of(o).mean() for o in cms], hits=[np.trace(o)/o.sum() for o in cms])

def of(df, **keys): return df[np.logical_and.reduce([df[k].to_numpy()==v for k,v in keys.items()])]
@lru_cache(maxsize=None)
def best(): return of(read('few_labels.csv'), preset='best', label_rule='counted')
@lru_cache(maxsize=None)
def paper():
    df = read('few_labels.csv')
    return df[(df.label_rule=='paper')|df.preset.str.startswith('paper')]
@lru_cache(maxsize=None)
def old(preset='best'): return of(read('real_galaxies.csv'), preset=preset)

NAMES = {'majority class':'majority','random encoder':'random','from scratch':'baseline','SimCLR':'simclr','autoencoder':'autoencoder','simulated galaxies':'simulated'}
HOW = {'linear':'linear','fine-tuned':'finetune'}
def line(name):
    "Method and mode from their words"
    method,_,how = name.strip().partition(', ')
    method = NAMES[method]
    return dict(method=method, mode=HOW[how] if how else {'majority':'none','random':'linear','baseline':'supervised'}[method])
def budget(text): return 0 if text in ('all','all labels') else int(text.split()[0])
TASKS = {'sdss_gz1':'SDSS, Galaxy Zoo 1 classes', 'sdss_gz2':'SDSS, Galaxy Zoo 2 classes', 'decals_rings':'DECaLS, rings'}
def survey(text):
    "The file of a task, from its name in a table, its short name in a column, or the name of the file"
    return next(k for k,words in (('sdss_gz1','gz1|Galaxy Zoo 1'), ('sdss_gz2','gz2|Galaxy Zoo 2'), ('decals_rings','rings')) if re.search(words, text, re.I))+'.h5'
def task(s): return TASKS[s.removesuffix('.h5')]
def score(df, value='macro'):
    "As a table shows it"
    v = df[value]
    return '' if not len(v) else f'{v.mean():.3f}'+(f' ± {v.std():.3f}' if df.macro.round(9).nunique()>1 else '')   # a dash in the table

# ---------------------------------------------------------------- differences

def encoders(df):
    "The rows of each encoder; those that have a seed of their own each count as one"
    return [df] if df.encoder_seed.nunique()==len(df) else [g for _,g in df.groupby('encoder_seed')]
def cube(df, seeds, value='macro'): return np.array([[v[s] for s in seeds] for v in (dict(zip(g.seed, g[value])) for g in encoders(df))])
def common(a, b): return sorted(set.intersection(*(set(g.seed) for o in (a,b) for g in encoders(o))))
def difference(a, b):
    "Mean over encoders and the seeds that all of them have"
    seeds = common(a, b)
    return cube(a, seeds).mean()-cube(b, seeds).mean(), len(seeds)

def spanned(d, o, seeds): return f'{d:+.3f} (no useful interval, {seeds} draws)' if o.high-o.low>1 else f'{d:+.3f} ({o.low:+.3f} to {o.high:+.3f})'

RIVALS = {'from scratch':('baseline','supervised'), 'random encoder':('random','linear'), '`paper`, SimCLR, fine-tuned':('simclr','finetune')}
@lru_cache(maxsize=None)
def family(rival):
    "(survey, n, method, mode) -> what the package says of a difference, and whether it remains after Holm's correction, by hand"
    from galaxy_ssl.study.intervals import crossed_interval
    from galaxy_ssl.study.results import as_frame, paired_differences
    mine = as_frame(str(PAGES/'few_labels.csv')).assign(recipe='').query("label_rule=='counted' and preset=='best'")
    trained = mine.method.isin(['simclr','autoencoder','simulated'])
    if rival=='from scratch': d = paired_differences(mine[trained|(mine.method=='baseline')])
    elif rival=='random encoder': d = paired_differences(mine[(trained|(mine.method=='random'))&(mine['mode']=='linear')], than=RIVALS[rival])
    else:
        d = []
        for (s,n,m,mode),g in best().groupby(['survey','n','method','mode']):
            other = rows_of(rival, s, n)
            if m not in ('simclr','autoencoder','simulated') or not len(other): continue
            seeds,k = common(g, other),len(g.cm.iloc[0])
            preds = [np.array([[unpack(v) for v in e] for e in cube(o, seeds, 'predictions')]) for o in (g,other)]
            o = crossed_interval(*preds, unpack(g.targets.iloc[0]), k)
            d.append(dict(survey=s, n=n, method=m, mode=mode, low=o.low, high=o.high, p=o.p))
        d = pd.DataFrame(d)
    d,m = d.reset_index(drop=True),len(d)
    kept,order = np.zeros(m, bool),d.p.argsort().to_numpy()
    for i,j in enumerate(order):
        if d.p[j]*(m-i)>=.05: break
        kept[j] = True
    return {(o.survey,o.n,o.method,o.mode):o for o in d.assign(kept=kept).itertuples()}

def rows_of(rival, s, n):
    method,mode = RIVALS[rival]
    return of(paper() if '`paper`' in rival else best(), survey=s, n=n, method=method, mode=mode)
@lru_cache(maxsize=None)
def judged(rival, s, n, method, mode):
    "Difference with its interval as text, word, whether it remains, seeds"
    o = family(rival)[s,n,method,mode]
    d,seeds = difference(of(best(), survey=s, n=n, method=method, mode=mode), rows_of(rival, s, n))
    word = 'one seed' if seeds<2 else 'ahead' if o.low>0 else 'behind' if o.high<0 else 'not told apart'
    assert o.low-1e-9<=d<=o.high+1e-9
    return spanned(d, o, seeds),word,bool(o.kept and o.low*o.high>0 and seeds>1),seeds,d

def bootstrap(a, b, reps=400):
    "95 % interval of a difference: images within classes, seeds and encoders drawn anew (Owen 2007)"
    rng,seeds,t = np.random.default_rng(0),common(a, b),unpack(a.targets.iloc[0])
    k,draw = t.max()+1,lambda n: rng.multinomial(n, np.full(n,1/n))/n
    p = [np.array([[unpack(v) for v in e] for e in cube(o, seeds, 'predictions')]) for o in (a,b)]
    out = []
    for _ in range(reps):
        w,ws = np.zeros(len(t)),draw(len(seeds))
        for c in np.unique(t): w[t==c] = draw((t==c).sum())*(t==c).sum()
        one = lambda x: f1_of(np.bincount(t*k+x, weights=w, minlength=k*k).reshape(k,k)).mean()
        means = [draw(len(x))@np.array([[one(o) for o in e] for e in x])@ws for x in p]
        out.append(means[0]-means[1])
    return np.quantile(out, [.025,.975])

# ---------------------------------------------------------------- a page

def chunks(nb):
    "(head, cells) of each row of a table and (None, line) of each line of a text, of all that cells show as Markdown"
    for c in nb['cells']:
        for o in c.get('outputs',()):
            head = None
            for l in ''.join(o.get('data',{}).get('text/markdown','')).split('\n'):
                if not l.startswith('|'): head = None
                if not l.strip() or re.fullmatch(r'\|[ :|-]+\|', l): continue
                cells = [v.strip() for v in re.split(r'(?<!\\)\|', l)[1:-1]]
                if not l.startswith('|'): yield None,l
                elif head is None: head = tuple(cells)
                else: yield head,dict(zip(head, cells))

def same(shown, expected, where):
    assert tokens(shown)==tokens(expected), f'{where}\nshows    {tokens(shown)}\nexpected {tokens(expected)}'

AIM = {('sdss_gz1',3):.25, ('sdss_gz1',30):.12, ('sdss_gz1',0):.05, ('sdss_gz2',3):.12, ('sdss_gz2',30):.15, ('decals_rings',3):.10, ('decals_rings',30):.10}
CELLS = {'gz1':'sdss_gz1','gz2':'sdss_gz2','rings':'decals_rings'}

def verdict_rows(nb): return [r for h,r in chunks(nb) if h and 'aim: reached' in h]
def difference_rows(nb, rival): return [r for h,r in chunks(nb) if h and f'minus {rival} (95 % interval)' in h]
def where_of(r): return survey(r['task']),budget(r['labels per class'])

def check_verdict(r, nb):
    (s,n),m = where_of(r),line(r['pre-trained method'])
    span,word,_,_,d = judged('from scratch', s, n, **m)
    aim = AIM[s[:-3],n]
    return {'from scratch':score(of(best(), survey=s, n=n, method='baseline')), 'its macro-F1':score(of(best(), survey=s, n=n, **m)),
            'difference (95 % interval)':span, 'aim: reached':f"{aim:+.2f}: {'yes' if d>=aim and word=='ahead' else 'no'}"}

def check_difference(r, nb):
    rival = next(k for k in RIVALS if f'minus {k} (95 % interval)' in r)
    span,word,kept,seeds,_ = judged(rival, *where_of(r), **line(r['method']))
    return {'seeds':seeds, f'minus {rival} (95 % interval)':span, 'verdict':word, **({'Holm':'yes' if kept else 'no'} if 'Holm' in r else {})}

def check_scores(r, nb):
    return {k:score(of(best(), survey=survey(r['task']), n=budget(k), **line(r['method']))) for k in [*r][2:]}

def check_against(r, nb):
    s,n = where_of(r)
    mine = next(line(o['pre-trained method']) for o in verdict_rows(nb) if where_of(o)[1]==n)
    theirs = {k:score(of(paper(), survey=s, n=n, **line(k.removeprefix('`paper`, ')))) for k in r if k.startswith('`paper`, ')}
    return {'`best`, the method above':score(of(best(), survey=s, n=n, **mine)), **theirs}

def check_task(r, nb):
    g = of(best(), survey=survey(r['task']))
    images = g.cm.iloc[0].sum(1).astype(int)
    all_ = of(g, n=0).labels_used.max()
    seeds = ', '.join(f"{of(g, n=n).seed.nunique()} at {n or 'all'}" for n in (3,30,300,0) if n in set(g.n))
    return {'classes':len(images), 'test images':f'{images.sum():,}', 'labels in the train split':f'{all_:,.0f}' if all_>0 else '', 'seeds at each budget':seeds}

def check_encoder(r, nb):
    g = of(read('few_labels.csv'), preset=r['preset'], method=NAMES[r['method']])
    shown = lambda v: '' if np.isnan(v) else f'{v:,.0f}'
    all_ = {'images':shown(g.pretrain_images.iloc[0]), 'epochs':shown(g.pretrain_epochs.iloc[0]), 'encoders':g.encoder_seed.nunique(), 'pixels':g['size'].iloc[0]}
    return {k:v for k,v in all_.items() if k in r or v}                                        # a column that is empty throughout is left out

@lru_cache(maxsize=None)
def class_errors(s, n, method, mode):
    "What the package says of the error of each class"
    from galaxy_ssl.study.efficiency import class_table
    from galaxy_ssl.study.results import as_frame
    rows = as_frame(str(PAGES/'few_labels.csv')).assign(recipe='')
    g = of(rows, label_rule='counted', preset='best', survey=s, n=n, method=method, mode=mode)
    if g.encoder_seed.nunique()==len(g): g = g.assign(encoder_seed=0)
    return {k.replace('_',' '):v for k,v in class_table(g, 20).set_index('class')['±'].items()}

@lru_cache(maxsize=None)
def class_span(s, n, classes, method, mode):
    "Difference in the mean F1 of some classes, its interval from the package"
    from galaxy_ssl.study.intervals import crossed_interval
    a,b = of(best(), survey=s, n=n, method=method, mode=mode),of(best(), survey=s, n=n, **line('from scratch'))
    seeds,k = common(a, b),len(a.cm.iloc[0])
    preds = [np.array([[unpack(v) for v in e] for e in cube(o, seeds, 'predictions')]) for o in (a,b)]
    o = crossed_interval(*preds, unpack(a.targets.iloc[0]), k, classes=list(classes))
    f1 = [np.mean([[f1_of(m)[list(classes)].mean() for m in e] for e in cube(x, seeds, 'cm')]) for x in (a,b)]
    return spanned(f1[0]-f1[1], o, len(seeds))

def check_class(r, nb):
    (s,n),out = where_of(r),{}
    mine = next(line(o['pre-trained method']) for o in verdict_rows(nb) if where_of(o)[1]==n)
    for column,m in (('F1, from scratch',line('from scratch')), ('F1, pre-trained',mine)):
        g = of(best(), survey=s, n=n, **m)
        names,images = [o.replace('_',' ') for o in json.loads(g.f1.iloc[0])],g.cm.iloc[0].sum(1).astype(int)
        i = [names.index(r['class'])] if r['class'] in names else np.flatnonzero(images>=20)
        assert images[i].min()>=20
        kept = common(g, g)                                                                # the seeds that all encoders have
        f1 = np.mean([[f1_of(c)[i].mean() for c in e] for e in cube(g, kept, 'cm')])
        out[column] = f"{f1:.3f} ± {class_errors(s, n, **m)[r['class']]:.3f}"
    return {**out, 'test images':images[i].sum(), 'difference (95 % interval)':class_span(s, n, tuple(i), **m)}

def needs(method, mode, s='sdss_gz1.h5'):
    "Labels for the score of training from scratch with all, interpolated in their logarithm"
    g = of(best(), survey=s)
    goal,all_ = of(g, n=0, method='baseline').macro.mean(),of(g, n=0, method='baseline').labels_used.iloc[0]
    own = of(g, method=method, mode=mode)
    curve = sorted((own.labels_used[own.n==n].mean(),own.macro[own.n==n].mean()) for n in set(own.n))
    x,y = np.log([o[0] for o in curve]),[o[1] for o in curve]
    i = next((i for i,v in enumerate(y) if v>=goal), None)
    v,bound = (x[-1],'more than ') if i is None else (x[0],'fewer than ') if i==0 else (x[i-1]+(goal-y[i-1])/(y[i]-y[i-1])*(x[i]-x[i-1]),'')
    return f'{goal:.3f}',f'{bound}{np.exp(v):,.0f} labels'+('' if bound=='more than ' else f', {100*np.exp(v)/all_:.1f} % of all')
def check_needed(r, nb): return dict(zip(('score to reach','labels needed'), needs(**line(r['method']), s=survey(r['task']))))

def check_file(name, *keys):
    def check(r, nb):
        t = pd.read_csv(PAGES/name, dtype=dict.fromkeys(keys, str)).fillna({k:'' for k in keys})
        t = t.rename(columns={c:c.replace('n=','n = ').replace('n = ','').replace(', ',' ').replace(' ',', ').replace('gz','GZ') for c in t if c not in keys})
        o = t[np.logical_and.reduce([t[k].str.split().str.join(' ')==r[k.replace('_',' ')] for k in keys])].iloc[0]
        return {k:'' if pd.isna(o[k]) else f'{o[k]:.3f}' for k in t if k not in (*keys,'step') and (k in r or pd.notna(o[k]))}
    return check

def paper_gap(s, n, method='simclr'):
    from galaxy_ssl.study.paper import PAPER
    return f"{PAPER['macro_f1'][s][method][n]-PAPER['macro_f1'][s]['baseline'][n]:+.3f}"

@lru_cache(maxsize=None)
def pairs():
    "The 36 pairs of the older study, their views as a tuple"
    g = old('pairs')
    v = g.settings.map(lambda o: tuple(json.loads(o)['simclr']['views'].split(',')))
    return g.assign(pair=v)[v.map(len)==2]
@lru_cache(maxsize=None)
def place(mode):
    g = of(pairs(), mode=mode)
    return 1+int((g.macro>g.macro[g.pair==('crop_resize',)*2].iloc[0]).sum())
@lru_cache(maxsize=None)
def orders():
    "Color operation before and after two crops, accuracy by mode"
    g = old('pairs')
    v = g.settings.map(lambda o: tuple(json.loads(o)['simclr']['views'].split(',')))
    g = g.assign(order=v)[v.map(len)==3]
    return {(o.mode,next(k for k in o.order if k!='crop_resize'),'before' if o.order[0]!='crop_resize' else 'after'):o.hits for o in g.itertuples()}

def check_claim(r, nb):
    text = r['the paper']
    def cells(m, surveys, ns): return [(s+'.h5',n,*m) for s in surveys for n in ns if (s+'.h5',n,*m) in family('from scratch')]
    sdss,every,ft = ('sdss_gz1','sdss_gz2'),tuple(CELLS.values()),('simclr','finetune')
    side = 1
    if text.startswith('fine-tuned SimCLR'): paper_,at = f"{paper_gap('sdss',0)} {paper_gap('decals',0)}",cells(ft, every, [0])
    elif text.startswith('SimCLR is ahead with 3 '): paper_,at = paper_gap('sdss',3),cells(ft, sdss, [3])
    elif text.startswith('SimCLR is ahead with 30'): paper_,at = paper_gap('sdss',30),cells(ft, sdss, [30])
    elif text.startswith('SimCLR is behind'): paper_,at,side = f"{paper_gap('decals',3)} {paper_gap('decals',30)}",cells(ft, ['decals_rings'], [3,30]),-1
    elif text.startswith('the autoencoder'): paper_,at = f"{paper_gap('sdss',0,'autoencoder')} {paper_gap('decals',0,'autoencoder')}",cells(('autoencoder','finetune'), every, [0])
    elif text.startswith('two crops'): return {'our rows':f"{place('linear')} of 36 linear {place('finetune')} of 36", 'verdict':'not shown'}
    elif text.startswith('noise before'):
        t = orders()
        rank = [1+sum(v>t[m,'gaussian_noise','before'] for (k,*_),v in t.items() if k==m) for m in ('linear','finetune')]
        apart = [np.ptp([v for (k,*_),v in t.items() if k==m]) for m in ('linear','finetune')]
        g = old('pairs')
        return {'our rows':f"{rank[0]} of 8 {rank[1]} of 8 {(g.hits.mean()*(1-g.hits.mean())/1054)**.5:.3f} {apart[0]:.3f} {apart[1]:.3f}", 'verdict':'not shown'}
    else: return {'verdict':'see there'}
    for o in paper_.split(): assert o in text, (o,text)
    found = [judged('from scratch', *o) for o in at]
    says = '; '.join(f"{task(s)} {n or 'all'}: {j[0]}" for (s,n,*_),j in zip(at, found))
    words = [{('ahead',1):1, ('behind',-1):1, ('behind',1):-1, ('ahead',-1):-1}.get((j[1],side), 0) for j in found]
    verdict = 'not tested' if not at else 'holds' if min(words)==1 else 'does not hold' if max(words)==-1 else 'not shown' if not any(words) else 'not in every case'
    return {'our rows':says, 'verdict':verdict}

def gains(df, s, n, m, than):
    "Mean gain of each class, and test images of each"
    a,b = of(df, survey=s, n=n, **m),of(df, survey=s, n=n, **than)
    return np.mean([*a.each], 0)-np.mean([*b.each], 0),a.cm.iloc[0].sum(1).astype(int)

def check_withdrawn(r, nb):
    text,gz1 = r['what the page stated'],dict(survey='sdss_gz1.h5', n=0)
    a,b = [of(old(), **gz1, **line(o)) for o in ('SimCLR, fine-tuned','from scratch')]
    if text.startswith('a gain with all'):
        gain,wide = a.macro.mean()-b.macro.mean(),1.96*np.hypot(a.macro_f1_error.mean(), b.macro_f1_error.mean())
        sd,error = sorted([a.macro.std(),b.macro.std()]),[*a.macro_f1_error,*b.macro_f1_error]
        says = f"{of(old(), method='simclr').encoder.nunique()} {task('sdss_gz1')} {sd[0]:.3f} {sd[1]:.3f} {min(error):.3f} {max(error):.3f} {a.cm.iloc[0].sum(1).min():.0f} {gain:+.3f} {gain-wide:+.3f} {gain+wide:+.3f}"
    elif text.startswith('training from scratch'): says = f"1,600 {b.epochs.max():.0f} {task('sdss_gz1')}"
    elif text.startswith('a gain on the ten'):
        g,images = gains(old(), 'sdss_gz2.h5', 30, line('SimCLR, fine-tuned'), line('from scratch'))
        few,three = images[images<=6],np.argsort(-np.where(images<20, g, -1))[:3]
        says = f"{len(g)} {task('sdss_gz2')} {len(few)} {few.min()} {few.max()} 30 {g.mean():+.3f} {100*g[three].sum()/g.sum():.0f} {images[three].sum()}"
    else:
        v = [f"{of(pairs(), mode=m).macro.std():.3f} {of(pairs(), mode=m).macro_f1_error.mean():.3f}" for m in ('linear','finetune')]
        for m in ('linear','finetune'): assert .75<of(pairs(), mode=m).macro.std()/of(pairs(), mode=m).macro_f1_error.mean()<1.33
        says = f"{len(pairs())//2} {pairs().seed.nunique()} {' '.join(v)}"
    return {'why it does not follow':says}

OLD = {'`best`':'best','`best`, 75,000 images':'best75','`paper`, 75,000 images':'paper75','`best`, 50,000 images':'best50',
       'one orientation instead of eight':'abl_turns','no decision rule':'abl_decide','C = 1 instead of 0.01':'abl_C'}
def check_old(r, nb):
    g = of(old(OLD[r['preset, older rule']]), **line(r['method']))
    return {k:score(of(g, survey=survey(k), n=budget(k.split(', ')[1]))) for k in [*r][2:]}

def check_orders(r, nb):
    from galaxy_ssl.study.paper import PAPER
    mode,op = r['mode'].replace('fine-tuned','finetune'),r['operation'].replace(' ','_')
    o = {k:f"{orders()[mode,op,k]:.3f}" for k in ('before','after')}
    return {**o, **{f'paper, {k}':f"{PAPER['color_with_double_crop'][mode][k][op]:.3f}" for k in o}}

TABLES = {'aim: reached':check_verdict, 'minus from scratch (95 % interval)':check_difference, 'minus random encoder (95 % interval)':check_difference,
          'minus `paper`, SimCLR, fine-tuned (95 % interval)':check_difference, '`best`, the method above':check_against,
          'seeds at each budget':check_task, 'encoders':check_encoder, 'F1, from scratch':check_class, 'score to reach':check_needed, 'changed':check_file('few_labels_parts.csv','part','changed'),
          'started from':check_file('few_labels_views.csv','views','started_from'), 'our rows':check_claim, 'what the page stated':check_withdrawn,
          'preset, older rule':check_old, 'paper, before':check_orders, 'tried':check_file('real_trials.csv','tried'), '30 per class':check_scores}

# ---------------------------------------------------------------- sentences

def said_counted(nb):
    v = [judged('from scratch', *where_of(r), **line(r['pre-trained method'])) for r in verdict_rows(nb)]
    met = sum(check_verdict(r, nb)['aim: reached'].endswith('yes') for r in verdict_rows(nb))
    return (f"ahead {sum(j[1]=='ahead' for j in v)} {len(v)} 95 0 {len(difference_rows(nb, 'from scratch'))} "
            f"{sum(j[1]=='ahead' and j[2] for j in v)} {len(v)} ahead {met} {len(v)}")

def said_lead(nb, text):
    "The verdict on one task: each outcome and its budgets"
    s,g = survey(text),{}
    for r in verdict_rows(nb):
        if where_of(r)[0]==s: g.setdefault(judged('from scratch', *where_of(r), **line(r['pre-trained method']))[1], []).append(where_of(r)[1])
    return ' '.join([task(s),*(f"{w} {'no ' if w=='one seed' else ''}{' '.join(str(n) for n in ns if n)}" for w,ns in g.items())])

def said_sizes(nb, text):
    g = of(best(), survey=survey(text)).iloc[0]
    return task(survey(text))+' '+'; '.join(f"{c.replace('_',' ')} {k:.0f}" for c,k in sorted(zip(json.loads(g.f1), g.cm.sum(1)), key=lambda o: -o[1]))

def said_step(nb, text): return next(k for k in pd.read_csv(PAGES/'real_trials.csv').step if k in text)
def said_task(nb, text): return task(survey(text))

def said_enough(nb):
    m = next(line(r['pre-trained method']) for r in verdict_rows(nb) if where_of(r)[1]==0)
    all_ = of(best(), survey='sdss_gz1.h5', n=0, method='baseline').labels_used.iloc[0]
    return ' '.join([f"{task('sdss_gz1')} {all_:,.0f}", *needs(**m)])

def said_covers(nb):
    k = {m:of(best(), method=m).encoder_seed.nunique() for m in ('simclr','autoencoder','simulated') if m in set(best().method)}
    return ' '.join(str(v) for v in k.values() if v>1)

def said_remaining(rival):
    def said(nb):
        v = [(r,judged(rival, *where_of(r), **line(r['method']))) for r in difference_rows(nb, rival)]
        ahead,behind,single = [sum(j[1]==w for _,j in v) for w in ('ahead','behind','one seed')]
        kept = [f"{r['task']} {where_of(r)[1] or ''} {j[4]:+.3f}" for r,j in v if j[2]]
        return f'{len(v)} {ahead} 0 {behind} '+(f'{single} one seed ' if single else '')+f'{len(v)-ahead-behind-single} no difference '+(f"{len(kept)} {' '.join(kept)}" if kept else 'None remains')
    return said

def said_small(nb, text):
    s,n = survey(text),int(re.search(r'(\d+) labels', text)[1])
    m = next(line(r['pre-trained method']) for r in verdict_rows(nb) if where_of(r)[1]==n)
    g,images = gains(best(), s, n, m, line('from scratch'))
    few = images<20
    if not few.any(): return f'{task(s)} {n} no 20'
    return f'{task(s)} {n} {few.sum()} 20 {images[few].sum()} {g.mean():+.3f} {g[~few].mean():+.3f} {(~few).sum()} {g[few].sum()/len(g):+.3f}'

def said_paper(nb):
    v = [judged('`paper`, SimCLR, fine-tuned', *where_of(r), **line(r['method']))[1] for r in difference_rows(nb, '`paper`, SimCLR, fine-tuned')]
    return f"0 {v.count('ahead')} {len(v)} 0"

def said_scatter(nb):
    out = [g.groupby('encoder_seed').macro.mean().std() for _,g in best()[best().method.isin(['simclr','autoencoder','simulated'])&(best()['mode']=='linear')].groupby(['survey','n','method']) if g.encoder_seed.nunique()>1]
    return f'{np.mean(out):.3f}'

def said_extremes(t, keys, name):
    d = t.drop(columns=keys)
    mean = (d-d.iloc[0]).mean(axis=1).iloc[1:]
    lo,hi = t.loc[mean.idxmin()],t.loc[mean.idxmax()]
    if len(mean)==1: return f'{name(lo)} {mean.min():+.3f}'
    return f'{len(mean)} {(mean<0).sum()} {(mean>0).sum()} {name(lo)} {mean.min():+.3f} {name(hi)} {mean.max():+.3f}'
def said_parts(nb): return said_extremes(pd.read_csv(PAGES/'few_labels_parts.csv'), ['part','changed'], lambda o: f'{o.part} ({o.changed})')
def said_views(nb, text):
    t,start = pd.read_csv(PAGES/'few_labels_views.csv'),re.match(r'- Started from (.*?);', text)[1]
    g = of(t, started_from=start).reset_index(drop=True)
    return f"{start} {g['views'][0]} "+said_extremes(g, ['views','started_from'], lambda o: o['views'])

def said_old(nb):
    g = read('real_galaxies.csv')
    return f"{len(g)} {g.seconds.sum()/3600:.1f} {g.version[0]}"
def said_pairs(nb):
    apart = [np.ptp(of(pairs(), mode=m).macro) for m in ('linear','finetune')]
    error = old('pairs').macro_f1_error.mean()
    return f"{apart[0]:.3f} {apart[1]:.3f} {error:.3f} 36 {4.2*error:.3f} {place('linear')} 36 {place('finetune')} 36"

SENTENCES = {'The pre-trained method is ahead in':said_counted, '- **':said_lead, 'test images per class':said_sizes, '**Tried':said_step, '**':said_task,
             'On SDSS, Galaxy Zoo 1 classes, training from scratch':said_enough, 'The intervals cover':said_covers,
             'difference from training from scratch':said_remaining('from scratch'), 'difference from the random encoder':said_remaining('random encoder'),
             'with fewer than 20 test images':said_small, 'no class has fewer':said_small, 'The whole interval is above 0':said_paper, 'by their seed alone':said_scatter, '- Started from':said_views,
             'changes, by the mean':said_parts, 'It has':said_old, 'The best and the worst pair':said_pairs}

# ---------------------------------------------------------------- mismatch

WHOLE = {'all_cropped':'everything of DECaLS but field and pixel scale', 'all_other':'everything of DECaLS'}
CLASSIFIERS = {'**Training from scratch**':'baseline', '**SimCLR':'simclr', '**The encoder of simulated':'simulated'}

@lru_cache(maxsize=None)
def cameras():
    "The package's costs, each score, change, share and correction of them found again by hand"
    from galaxy_ssl.study.mismatch import load_mismatch, mismatch_costs
    df = pd.read_csv(PAGES/'mismatch.csv', dtype=dict.fromkeys(TEXT, str))
    y,cm = unpack(df.targets.dropna().iloc[0]),lambda p: np.bincount(10*y+unpack(p), minlength=100).reshape(10,10)
    f1 = df.assign(f1=[f1_of(cm(p)).mean() for p in df.predictions]).groupby(['method','camera']).f1.mean()
    costs = mismatch_costs(load_mismatch(PAGES/'mismatch.csv'))
    for m,g in costs.groupby('method'):
        others = g[g.camera!='same'].sort_values('p')
        by_hand = np.maximum.accumulate(others.p.to_numpy()*np.arange(len(others),0,-1)).clip(max=1)
        assert np.allclose(others.holm, by_hand)
        for o in g.itertuples():
            change = f1[m,o.camera]-f1[m,'same']
            assert np.allclose([o.macro_f1,o.change,o.share], [f1[m,o.camera],change,-change/(f1[m,'same']-.1)], atol=1e-9)
    return costs

def step(o): return WHOLE.get(o['camera']) or f"{o['quantity']}, {o['from']} → {o['to']}"
def with_span(o, k, low, high, form): return f'{o[k]:{form}} ({o[low]:{form}} to {o[high]:{form}})'
def share(o): return with_span(o, 'share', 'share_low', 'share_high', '.2f')
def each(costs): return [o for _,o in costs.sort_values('share', ascending=False).iterrows()]
def listed(costs, text=lambda o: f'{step(o)}: {share(o)}'): return '; '.join(map(text, each(costs))) or 'none'

def check_camera(r, method, i):
    "A row of the table of one classifier; the cameras are in the order of the rows"
    o = cameras()[(cameras().method==method)&(cameras().camera!='same')].iloc[i]
    assert r['quantity']==(WHOLE.get(o['camera']) or o['quantity']) and r['from → to']==('–' if o['camera'] in WHOLE else f"{o['from']} → {o['to']}"), r
    note = 'at chance' if o['at_chance'] else 'significant after Holm' if o['holm']<.05 else ''
    expected = {'macro-F1':f"{o['macro_f1']:.2f}", 'change':with_span(o, 'change', 'low', 'high', '+.2f'), 'share lost':share(o)}
    for k,v in expected.items(): same(r[k], v, f'{r}, {k}')
    assert r['note']==note, r

def said_of_cameras(text, method):
    "What a line says of one classifier"
    own,every = cameras()[cameras().method==method],cameras()
    o,known = own[own.camera!='same'],own[(own.camera!='same')&(own.holm<.05)]
    lost,open_ = known[known.change<0],o[o.holm>=.05]
    if text.startswith('**') and not text.startswith('- '): return f"{own.n.iloc[0]} {own.seeds.iloc[0]}" if method=='baseline' else ''
    if 'on the camera it was trained on' in text: return f"{own.macro_f1[own.camera=='same'].iloc[0]:.2f} 0.10"
    if 'The costliest single differences' in text: return listed(lost[~lost.camera.isin(WHOLE)].sort_values('share', ascending=False)[:3])
    if 'A fifth or more of what can be lost' in text:
        return f'{(lost.share>=.2).sum()} {len(o)} {(lost.share<.2).sum()} {len(open_)} {open_.share_low.min():.2f} {open_.share_high.max():.2f}'
    if 'Gains' in text: return listed(known[known.change>0])
    if 'On the DECaLS-like camera' in text: return ' '.join(f"{own.macro_f1[own.camera==c].iloc[0]:.2f}" for c in ('all_other','all_cropped'))
    if 'At chance' in text: return listed(o[o.at_chance], step)
    first = every[(every.method=='baseline')&(every.camera!='same')]
    if 'The change of training from scratch is known' in text:
        part = (first.images**2/(first.images**2+first.seeds_error**2)).median()
        return f"{(first.high-first.low).median()/2:.2f} {100*part:.0f} {first.seeds.iloc[0]}"
    if 'The wider field, cropped' in text: return ' '.join(with_span(r, 'change', 'low', 'high', '+.3f') for _,r in every[every.camera=='field_wider'].iterrows())
    if 'A cost is that of a factor' in text: return '1.5'
    raise AssertionError(f'no check for: {text}')

def check_front_of_cameras(r, i):
    "A row of the first table: what changed the score of training from scratch"
    every = cameras()
    own = every[(every.method=='baseline')&(every.camera!='same')&(every.holm<.05)].sort_values('share', ascending=False)
    o = own.iloc[i]
    assert r['difference']==step(o), r
    same(r['macro-F1 from scratch'], f"{o['macro_f1']:.2f}", r)
    assert ('chance' in r['macro-F1 from scratch'])==o['at_chance'], r
    for k,v in r.items():
        if k.startswith('share lost, '):
            method = NAMES[k.removeprefix('share lost, ').removesuffix(' †')]
            same(v, share(every[(every.method==method)&(every.camera==o['camera'])].iloc[0]), r)
    return len(own)

def results_of(nb): return dict(nb, cells=[c for c in nb['cells'] if 'echo: false' in source(c)])
def check_mismatch(nb, only=None):
    "`only` is a chunk by its place that is set for the page's own"
    method,n,first,of_all,found = 'baseline',0,0,-1,[]
    for i,(head,r) in enumerate(chunks(results_of(nb))):
        if only and only[0]==i: r = only[1]
        if not head: method,n = next((m for k,m in CLASSIFIERS.items() if r.startswith(k)), method),0
        if head and 'macro-F1 from scratch' in head:
            of_all = check_front_of_cameras(r, first)
            first += 1
        elif head and 'share lost' in head:
            check_camera(r, method, n)
            n += 1
            found.append(method)
        elif not head and figures(r): assert figures(r)==figures(said_of_cameras(r, method)), (r,said_of_cameras(r, method))
        else: assert not head, f'no check for the table {head}'
    assert first==of_all and len(found)==(cameras().camera!='same').sum()

# ---------------------------------------------------------------- landing page

def written(nb):
    "The landing page without the code that it shows and what that gave, its texts as outputs, so that `chunks` reads them"
    show = lambda c: c if c['cell_type']=='code' else dict(c, outputs=[dict(data={'text/markdown':source(c)})])
    return dict(nb, cells=[show(c) for c in nb['cells'] if c['cell_type']=='markdown' or 'echo: false' in source(c)])

def check_front(nb, page):
    "Every score of the landing page: from the page of real galaxies, the run of 05, or the encoder that ships"
    verdict = {where_of(r):r for r in verdict_rows(page)}
    for head,r in chunks(written(nb)):
        if head and {'pre-trained','pre-trained method'}&{*head}:
            for k,v in r.items(): assert k=='task' or v==verdict[where_of(r)][{'pre-trained':'its macro-F1'}.get(k, k)], (k,v)
        elif head and 'ResNet-18 from scratch' in head:                                   # the older study
            g = of(old(), survey='sdss_gz1.h5', n=budget(r['labels per class']))
            for k,v in r.items():
                if k!='labels per class': same(v.strip('*'), score(of(g, **line(k.replace('ResNet-18 ', '')))), r)
        elif head and 'macro-F1' in head: assert f"{r['macro-F1'].replace(' ± ',' ')} {r['accuracy']}" in run_of_experiments(), r
        elif not head and re.search(r'\b0\.\d{3}\b', r):
            if 'is ahead in' in r and 'comparisons' in r: assert r==next(o for h,o in chunks(page) if not h and o.startswith('The pre-trained method is ahead in'))
            elif 'training from scratch with all' in r: assert r==next(o for h,o in chunks(page) if not h and o.startswith('On SDSS, Galaxy Zoo 1 classes, training'))
            else: assert re.findall(r'\b0\.\d{3}\b', r)==shipped_scores(), f'no check for: {r}'

def shipped_scores():
    "What the sentence on the encoder that ships says: 3, 30 and all labels, then none"
    g,out = of(pd.read_csv(PAGES/'simulated_scores.csv'), task='sdss_gz1', method='simulated'),[]
    for n in (3,30,0,-1):
        v = of(g, n=n).macro_f1
        out += [f'{v.mean():.3f}']+([f'{v.std():.3f}'] if len(v)>1 and n>0 else [])
    return out

@lru_cache(maxsize=None)
def run_of_experiments():
    "The numbers of each line that 05 shows; test_site says which method has which"
    shown = [''.join(o.get('data',{}).get('text/plain','')) for c in read_nb(NBS/'05_experiments.ipynb')['cells'] for o in c.get('outputs',())]
    return '\n'.join(' '.join(f'{float(v):.3f}' for v in re.findall(r'\d\.\d+', l)) for o in shown for l in o.split('\n'))

# ---------------------------------------------------------------- the checks

def check_chunk(head, r, nb):
    "One row of a table, or one line of a text"
    if head:
        check = next((f for k,f in TABLES.items() if k in head), None)
        assert check, f'no check for the table {head}'
        for k,v in check(r, nb).items(): same(r[k], v, f'{r}, {k}')
    elif tokens(r):
        check = next((f for k,f in SENTENCES.items() if r.startswith(k)), None) or next((f for k,f in SENTENCES.items() if k in r), None)
        assert check, f'no check for: {r}'
        same(r, check(nb, r) if check in (said_small,said_views,said_lead,said_sizes,said_step,said_task) else check(nb), r)

def check_real_galaxies(nb):
    for head,r in chunks(nb): check_chunk(head, r, nb)

def changed(text):
    "Texts with one number or one word of comparison changed"
    for m in re.finditer(r'\.(\d)', text): yield text[:m.start(1)]+str((int(m[1])+1)%10)+text[m.end(1):]
    for a,b in (('ahead','behind'),('not told apart','ahead'),('holds','not shown'),('not shown','holds')):
        if a in text: yield text.replace(a, b, 1)

real = pytest.mark.skipif(not (PAGES/'few_labels.csv').exists(), reason='the rows of the study are not here')

@real
def test_rows_agree_with_their_predictions():
    for name in ('few_labels.csv','real_galaxies.csv'):
        for r in read(name).itertuples():
            assert abs(r.macro-r.macro_f1)<1e-6 and abs(r.hits-r.accuracy)<1e-6, (name,r.key)
            assert (r.cm==np.array(json.loads(r.confusion))).all(), (name,r.key)
    assert (read('few_labels.csv').predictions!='').all() and set(read('few_labels.csv').label_rule)<={'counted','paper'}

@real
def test_budgets_count_all_their_labels():
    df = read('few_labels.csv')
    few = df[(df.n>0)&(df.method!='majority')]
    assert (few.labels_used<=few.n*few.cm.map(len)).all()

@real
def test_real_galaxies_says_what_the_rows_say(): check_real_galaxies(read_nb(PAGES/'real_galaxies.ipynb'))

@real
def test_intervals_are_as_wide_as_a_bootstrap_of_its_own():
    for r in verdict_rows(read_nb(PAGES/'real_galaxies.ipynb')):
        (s,n),m = where_of(r),line(r['pre-trained method'])
        o = family('from scratch')[s,n,m['method'],m['mode']]
        if o.seeds<3: continue                       # Student's t of two draws is as wide as it must be
        low,high = bootstrap(of(best(), survey=s, n=n, **m), rows_of('from scratch', s, n))
        assert .7<(o.high-o.low)/(high-low)<2.5, (r,low,high)

def test_mismatch_says_what_the_rows_say():
    check_mismatch(read_nb(PAGES/'mismatch.ipynb'))

def test_a_wrong_number_on_the_page_of_the_mismatch_is_found():
    nb,planted = read_nb(PAGES/'mismatch.ipynb'),0
    for i,(head,r) in enumerate(chunks(results_of(nb))):
        for k in (head[2:] if head else ('',)):
            wrong = list(changed(r[k] if head else r))
            if not wrong or i%7 and planted>20: continue
            with pytest.raises(AssertionError): check_mismatch(nb, (i, {**r,k:wrong[0]} if head else wrong[0]))
            planted += 1
    assert planted>20

@real
def test_landing_page_says_what_the_rows_say(): check_front(read_nb(NBS/'index.ipynb'), read_nb(PAGES/'real_galaxies.ipynb'))

@real
def test_a_wrong_number_on_the_landing_page_is_found():
    page,nb,planted = read_nb(PAGES/'real_galaxies.ipynb'),written(read_nb(NBS/'index.ipynb')),0
    for i,c in enumerate(nb['cells']):
        for o in c.get('outputs',()):
            text = ''.join(o.get('data',{}).get('text/markdown',''))
            for m in re.finditer(r'\b0\.(\d)\d\d\b', text):
                wrong = copy.deepcopy(nb)
                wrong['cells'][i] = dict(cell_type='code', source='#| echo: false', outputs=[dict(data={'text/markdown':text[:m.start(1)]+str((int(m[1])+5)%10)+text[m.end(1):]})])
                with pytest.raises((AssertionError,KeyError)): check_front(wrong, page)
                planted += 1
    assert planted>10

@real
def test_the_text_between_holds_no_result():
    "What is not computed when the page is made names no score and no winner"
    for c in read_nb(PAGES/'real_galaxies.ipynb')['cells']:
        if c['cell_type']=='markdown': assert not re.findall(r'[+−-]0\.\d|0\.\d{3}(?! on features)|\bbeats?\b|ahead of|behind', source(c)), source(c)[:200]

@real
def test_a_wrong_number_is_found():
    nb,planted = read_nb(PAGES/'real_galaxies.ipynb'),0
    for head,r in chunks(nb):
        for k in (r if head else ('',)):
            text = r[k] if head else r
            if head and k in ('pre-trained method','method','class','the paper','what the page stated','task','changed','tried','part','views','started from','preset, older rule','operation'): continue
            for wrong in changed(text):
                try: check_chunk(head, {**r,k:wrong} if head else wrong, nb)
                except (AssertionError,KeyError): planted += 1
                else: pytest.fail(f'not found: {wrong}')
    assert planted>300

@real
@pytest.mark.parametrize('key', ['aim','Holm','older rule'])
def test_a_wrong_number_in_a_copy_of_the_page_is_found(key):
    nb = copy.deepcopy(read_nb(PAGES/'real_galaxies.ipynb'))
    shown = [o['data'] for c in nb['cells'] for o in c.get('outputs',()) if key in ''.join(o.get('data',{}).get('text/markdown',''))]
    shown[0]['text/markdown'] = list(changed(''.join(shown[0]['text/markdown'])))[-1 if key=='Holm' else 0]
    with pytest.raises(AssertionError): check_real_galaxies(nb)
