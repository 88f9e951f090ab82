"Files that hold all images in one array, as people have them: links and shards, names, orders of axes, types, labels, paths. Toy galaxies, no network."
import json, os, sys
from pathlib import Path
import cv2, h5py, numpy as np, pandas as pd, pytest
from galaxy_ssl.baseline import score_predictions
from galaxy_ssl.survey import opening
from galaxy_ssl.survey.classes import as_classes, missing_text
from galaxy_ssl.survey.arrays import open_array
from galaxy_ssl.survey.containers import is_array_file
from galaxy_ssl.data import *

N,S = 40,16
Y = np.arange(N)%4
CLASSES = [f'class {i}' for i in range(4)]

def galaxies(n=N, size=S, seed=0):
    "Toy galaxies of four elongations, uint8 (n,size,size,3)"
    rng,g = np.random.default_rng(seed),np.mgrid[:size,:size]-size/2+.5
    out = np.empty((n,size,size,3), np.uint8)
    for i in range(n):
        th,q = rng.uniform(0,np.pi),(1,.5,.2,.35)[i%4]
        u,v = g[1]*np.cos(th)+g[0]*np.sin(th),(g[0]*np.cos(th)-g[1]*np.sin(th))/q
        out[i] = np.clip(np.exp(-np.hypot(u,v)/size*12)[...,None]*(230,200,150)+rng.normal(12,4,(size,size,3)), 0, 255)
    out[0,0,0],out[0,0,1] = 255,0
    return out
IMAGES = galaxies()
AS_IS = dict(crop=None, size=None, check=False)

@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch): monkeypatch.setenv('GALAXY_SSL_DATA', str(tmp_path_factory.mktemp('cache')))

def write(path, attrs=None, **data):
    with h5py.File(path,'w') as f:
        for k,v in data.items(): f[k] = v
        f.attrs.update(attrs or {})
    return path
def png(im, ext='.png'): return cv2.imencode(ext, im[...,::-1])[1].tobytes()
def same(s, images=IMAGES, labels=Y):
    assert s.images.shape==images.shape and s.images.dtype==np.uint8 and (np.asarray(s.images)==images).all()
    if labels is not None: assert s.labels.tolist()==list(labels)
    return s
def refused(match, path, **kw):
    "The error is one sentence of ours: get_survey and ingest say the same, and leave nothing behind"
    with pytest.raises((ValueError,OSError), match=match) as e: get_survey(path, **kw)
    assert '\n' not in str(e.value) and '/galaxy_ssl/' in str(e.traceback[-1].path)
    dst = Path(path).parent/'refused.h5'
    with pytest.raises((ValueError,OSError), match=match): ingest(path, dst, **AS_IS, **{k:v for k,v in kw.items() if k!='labelled'})
    assert not list(dst.parent.glob('refused*'))

# ---------------------------------------------------------------- where the pixels are

def linked(d, kind):
    "A main file whose images are elsewhere; that file, or those files"
    with h5py.File(d/'pix.h5','w', userblock_size=512 if kind=='user block' else 0) as f: f['a/images'] = IMAGES
    noise = np.random.default_rng(0).integers(0, 256, (200,S,S,3), dtype=np.uint8)
    (d/'sub').mkdir(exist_ok=True)
    far = {'absolute':str(d/'pix.h5'), 'in a folder':'sub/pix.h5'}.get(kind, 'pix.h5')
    if kind=='in a folder': (d/'pix.h5').rename(d/'sub'/'pix.h5')
    if kind=='chunked':
        with h5py.File(d/'pix.h5','w') as f: f.create_dataset('a/images', data=IMAGES, chunks=(7,5,5,2), compression='gzip')
    if kind=='twice':
        os.rename(d/'pix.h5', d/'sub'/'real.h5')
        with h5py.File(d/'pix.h5','w') as f: f['a'] = h5py.ExternalLink('sub/real.h5','/a')
    with h5py.File(d/'main.h5','w') as f:
        f['ans'],f['thumbs'] = Y,noise
        if kind=='group': f['images'] = h5py.ExternalLink(far,'/a')
        elif kind=='soft': f['a'] = h5py.ExternalLink(far,'/a'); f['images'] = h5py.SoftLink('/a/images')
        else: f['images'] = h5py.ExternalLink(far,'/a/images')
    return d/'main.h5'

@pytest.mark.parametrize('kind', ['beside','absolute','in a folder','user block','chunked','twice','soft','group'])
@pytest.mark.parametrize('way', ['get_survey','ingest','resized'])
def test_external_link(tmp_path, kind, way):
    p = linked(tmp_path, kind)
    kw = dict(images='images/images') if kind=='group' else {}
    if way=='get_survey': same(get_survey(p, **kw))
    if way=='ingest': same(get_survey(ingest(p, tmp_path/'o.h5', **AS_IS, **kw)))
    if way=='resized': assert abs(get_survey(p, size=8, **kw).images.astype(int)-np.stack([cv2.resize(o,(8,8),interpolation=cv2.INTER_AREA) for o in IMAGES])).max()<=1

@pytest.mark.parametrize('change', ['gone','no dataset','no hdf5','soft'])
def test_link_that_leads_nowhere(tmp_path, change):
    p = linked(tmp_path, 'beside')
    if change=='gone': (tmp_path/'pix.h5').unlink()
    if change=='no dataset': write(tmp_path/'pix.h5', other=IMAGES)
    if change=='no hdf5': (tmp_path/'pix.h5').write_text('<html>')
    if change=='soft':
        with h5py.File(p,'a') as f: del f['images']; f['images'] = h5py.SoftLink('/a/images')
    refused({'gone':r'`images` is a link to /a/images in .*pix.h5, which is missing', 'no dataset':'which holds nothing of that name',
             'no hdf5':'pix.h5, which is no readable HDF5 file', 'soft':'`images` is a link to /a/images, which is not in the file'}[change], p)

def virtual(d, files=('p0.h5','p1.h5'), n=N):
    lay = h5py.VirtualLayout((n,S,S,3), 'u1')
    for i,o in enumerate(files): lay[i*20:i*20+20] = h5py.VirtualSource(str(o), 'images', (20,S,S,3))
    with h5py.File(d/'v.h5','w') as f: f.create_virtual_dataset('images', lay); f['ans'] = Y[:n]
    return d/'v.h5'
def shards(d, **kw):
    for i in range(2):
        with h5py.File(d/f'p{i}.h5','w') as f: f.create_dataset('images', data=IMAGES[20*i:20*i+20], **kw)

@pytest.mark.parametrize('kw', [{}, dict(chunks=(7,5,5,3),compression='gzip'), dict(maxshape=(None,S,S,3))])
def test_virtual_dataset(tmp_path, kw, monkeypatch):
    shards(tmp_path, **kw)
    same(get_survey(virtual(tmp_path)))
    monkeypatch.chdir('/')
    same(get_survey(ingest(tmp_path/'v.h5', tmp_path/'o.h5', **AS_IS)))

@pytest.mark.parametrize('fault,match', [('missing',r'a part of `images` is in .*p1.h5, which is missing'), ('short','p1.h5, which has the shape .* and is too small: .20, '),
    ('other','p1.h5, which holds no such dataset'), ('unmapped','do not hold all of it; the first gap is at entry 20 of 40'), ('empty','p1.h5: `images` has the shape .* never written'),
    ('no hdf5','p1.h5 is not a readable HDF5 file')])
def test_shard_that_is_missing(tmp_path, fault, match):
    shards(tmp_path)
    p = virtual(tmp_path, ['p0.h5'] if fault=='unmapped' else ('p0.h5','p1.h5'))
    if fault=='missing': (tmp_path/'p1.h5').rename(tmp_path/'q.h5')
    if fault=='short': write(tmp_path/'p1.h5', images=IMAGES[:13])
    if fault=='other': write(tmp_path/'p1.h5', pixels=IMAGES[:20])
    if fault=='no hdf5': (tmp_path/'p1.h5').write_bytes(b'')
    if fault=='empty':
        with h5py.File(tmp_path/'p1.h5','w') as f: f.create_dataset('images', (20,S,S,3), 'u1')
    refused(match, p)

def test_numbered_shards(tmp_path):
    names = 'n%b.h5'
    space,src = h5py.h5s.create_simple((N,S,S,3),(h5py.h5s.UNLIMITED,S,S,3)),h5py.h5s.create_simple((20,S,S,3))
    space.select_hyperslab((0,0,0,0), (h5py.h5s.UNLIMITED,1,1,1), (20,1,1,1), (20,S,S,3))
    for i in range(2): write(tmp_path/f'n{i}.h5', images=IMAGES[20*i:20*i+20])
    with h5py.File(tmp_path/'v.h5','w') as f:
        how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        how.set_virtual(space, names.encode(), b'images', src)
        h5py.h5d.create(f.id, b'images', h5py.h5t.NATIVE_UINT8, space, how)
        f['ans'] = Y
    same(get_survey(tmp_path/'v.h5'))
    (tmp_path/'n1.h5').rename(tmp_path/'n2.h5')
    refused('n1.h5, which is missing', tmp_path/'v.h5')
    (tmp_path/'n2.h5').unlink()
    refused('one label per image, got 40 labels for an array of shape 20', tmp_path/'v.h5')
    (tmp_path/'n0.h5').unlink()
    refused('n0.h5, which is missing', tmp_path/'v.h5')

@pytest.mark.parametrize('fault,match', [(None,None), ('short','raw.bin, which is too short'), ('missing','raw.bin, which is missing')])
def test_external_raw_storage(tmp_path, fault, match):
    raw = tmp_path/'raw.bin'
    raw.write_bytes(bytes(7)+IMAGES.tobytes())
    with h5py.File(tmp_path/'m.h5','w') as f:
        f.create_dataset('images', IMAGES.shape, 'u1', external=[(str(raw),7,IMAGES.nbytes)]); f['ans'] = Y
    if fault is None: same(get_survey(tmp_path/'m.h5')); return
    if fault=='short': raw.write_bytes(bytes(99))
    if fault=='missing': raw.unlink()
    refused(match, tmp_path/'m.h5')

@pytest.mark.parametrize('how,match', [({},'its values were never written'), (dict(chunks=(5,S,S,3)),'its values were never written'), (dict(chunks=(5,S,S,3),compression='gzip',half=True),'image 20, was never written')])
def test_pixels_that_were_never_written(tmp_path, how, match):
    half = how.pop('half',False) if 'half' in (how := dict(how)) else False
    with h5py.File(tmp_path/'e.h5','w') as f:
        ds = f.create_dataset('images', IMAGES.shape, 'u1', **how); f['ans'] = Y
        if half: ds[:20] = IMAGES[:20]
    refused(match, tmp_path/'e.h5')

def test_one_image_that_was_never_written(tmp_path, capsys):
    with h5py.File(tmp_path/'e.h5','w') as f:
        ds = f.create_dataset('images', IMAGES.shape, 'u1', chunks=(1,S,S,3)); f['ans'] = Y
        for i in range(N):
            if i!=7: ds[i] = IMAGES[i]
    s = same(get_survey(tmp_path/'e.h5'), np.delete(IMAGES,7,0), np.delete(Y,7))
    assert s.skipped==[('image 7','was never written')] and s.ids[7]==8
    assert capsys.readouterr().err.strip()=='e: 39 images; 1 not used (image 7 was never written)'
    t = same(get_survey(ingest(tmp_path/'e.h5', tmp_path/'o.h5', **AS_IS)), np.delete(IMAGES,7,0), np.delete(Y,7))
    assert (t.skipped,t.ids)==(s.skipped,s.ids)
    refused('more than 0 % of the 40 images cannot be used; the first, image 7, was never written; allow more with `max_bad`', tmp_path/'e.h5', max_bad=0)

@pytest.mark.parametrize('kind', ['external','virtual','labels'])
def test_a_target_that_changes_is_noticed(tmp_path, kind):
    if kind=='virtual': shards(tmp_path); p,far = virtual(tmp_path),tmp_path/'p1.h5'
    else: p,far = linked(tmp_path, 'beside'),tmp_path/'pix.h5'
    with h5py.File(p,'a') as f: f['redshift'] = np.arange(N)/9
    if kind=='labels':
        with h5py.File(p,'a') as f: del f['ans'],f['images']; f['images'] = IMAGES; f['ans'] = h5py.ExternalLink('y.h5','/y')
        far = write(tmp_path/'y.h5', y=Y)
    old,out = open_array(p),ingest(p, tmp_path/'o.h5', **AS_IS)
    before = old.fingerprint
    at = out.stat().st_mtime_ns
    assert ingest(p, out, **AS_IS).stat().st_mtime_ns==at
    if kind=='virtual': write(far, images=IMAGES[:20])
    if kind=='external': write(far, **{'a/images':IMAGES[::-1]})
    if kind=='labels': write(far, y=Y[::-1])
    with pytest.raises(ValueError, match=f'{far.name} has changed since it was opened; open it again'): old.table
    s = get_survey(ingest(p, out, **AS_IS))
    assert out.stat().st_mtime_ns!=at and (s.fingerprint!=before or kind=='virtual')
    if kind=='external': same(s, IMAGES[::-1])
    if kind=='labels': same(s, labels=Y[::-1])

def test_the_cached_conversion_follows_a_link(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, 'LARGE', 1000)
    p = linked(tmp_path, 'chunked')
    assert isinstance(same(get_survey(p, root=tmp_path/'r')).images, np.memmap)
    with h5py.File(tmp_path/'pix.h5','w') as f: f.create_dataset('a/images', data=IMAGES[::-1], chunks=(7,5,5,2))
    same(get_survey(p, root=tmp_path/'r'), IMAGES[::-1])

def test_the_cached_conversion_knows_its_options(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(opening, 'LARGE', 1000)
    p = write(tmp_path/'s.h5', a=IMAGES.astype('u2'), b=IMAGES[::-1].astype('u2'), target=Y, field=Y//2)
    first = lambda **kw: np.asarray(get_survey(p, root=tmp_path/'r', **kw).images[0])
    assert (first(images='a', labels='target')==IMAGES[0]).all() and (first(images='b', labels='target')==IMAGES[-1]).all()
    assert (first(images='a', labels='target', bands=(0,1,2))==IMAGES[0,...,::-1]).all()
    assert (first(images='a', labels='target', value_range=(0,510))==np.rint(IMAGES[0]/2)).mean()>.5
    assert get_survey(p, images='a', labels='field', root=tmp_path/'r').labels.tolist()==(Y//2).tolist()
    assert get_survey(p, images='a', labels=Y[::-1], root=tmp_path/'r').labels.tolist()==Y[::-1].tolist()
    capsys.readouterr()
    get_survey(p, images='a', labels='target', root=tmp_path/'r')
    assert len(capsys.readouterr().err.strip().split('\n'))==1

# ---------------------------------------------------------------- names

@pytest.mark.parametrize('images,labels', [('images','ans'), ('images','labels'), ('images','label'), ('images','y'), ('images','target'), ('images','targets'), ('Images','Labels'),
    ('image','class'), ('img','class_label'), ('imgs','Y'), ('X','y'), ('x','y'), ('x_train','y_train'), ('X_train','Y_train'), ('Xtrain','ytrain'), ('data','targets'),
    ('train_images','train_labels'), ('images_train','labels_train'), ('pixels','classes'), ('cutouts','target'), ('pictures','label'), ('inputs','targets'),
    ('train/images','train/ans'), ('train/x','train/y'), ('data/images','data/labels'), ('data/train/X','data/train/Y'), ('train/images','labels'), ('galaxies','ans'), ('stamps/all','label')])
@pytest.mark.parametrize('kind', ['h5','npz'])
def test_names(tmp_path, images, labels, kind):
    p = tmp_path/f's.{kind}'
    data = {images:IMAGES, labels:Y, 'redshift':np.linspace(0,1,N)}
    if kind=='h5': write(p, **data)
    else: np.savez(p, **data)
    s = same(get_survey(p))
    assert s.classes==CLASSES and list(s.table)==['redshift']
    assert (f'images from `{images}`' in s.notes)==(images!='images') and (f'labels from `{labels}`' in s.notes)==(labels!='ans')
    same(get_survey(p, labelled=None))
    t = same(get_survey(ingest(p, tmp_path/'o.h5', **AS_IS)))
    assert t.classes==CLASSES and list(t.table.redshift)==list(s.table.redshift) and t.notes==s.notes

@pytest.mark.parametrize('data,kw', [(dict(train_images=0,train_labels=1,val_images=2,val_labels=3), dict(images='train_images')),
    ({'train/images':0,'train/ans':1,'test/images':2,'test/ans':3}, dict(images='train/images')), (dict(X_train=0,y_train=1,X_test=2,y_test=3), dict(images='X_train')),
    (dict(a=0,b=2,truth=1), dict(images='a',labels='truth')), (dict(images=0,ans=3,other=1), dict(labels='other'))])
@pytest.mark.parametrize('kind', ['h5','npz'])
def test_several_datasets(tmp_path, data, kw, kind):
    of = [IMAGES,Y,IMAGES[:20],Y[:20][::-1]]
    if 'images' in data: of[3] = Y[::-1]
    data,p = {k:of[v] for k,v in data.items()},tmp_path/f's.{kind}'
    if kind=='h5': write(p, **data)
    else: np.savez(p, **data)
    if 'images' in kw: refused(r'holds several arrays that may be the images: .*\(40×16×16×3\).*; name one with images=', p)
    same(get_survey(p, **kw))
    s = same(get_survey(ingest(p, tmp_path/'o.h5', **AS_IS, **kw)))
    if 'images' in data: assert any('`ans` looks like labels too and is not used' in o for o in s.notes)

@pytest.mark.parametrize('kw,match', [(dict(images='pics'),"holds no dataset 'pics' \\(`images`\\); it holds ans \\(40\\), images \\(40×16×16×3\\)"), (dict(labels='klass'),"holds no dataset 'klass' \\(`labels`\\)"),
    (dict(labels='folders'),"labels='folders' is for images in folders"), (dict(pattern='*.fits'),'`pattern`'), (dict(labels=Y[:9]),'one label per image, got 9 labels'),
    (dict(bands='grz'),'`bands` of an array must be three numbers'), (dict(value_range=(1,0)),'`value_range` must be two numbers'), (dict(labels=pd.DataFrame(dict(file=['a'],label=['b']))),'holds no file names'),
    (dict(threshold=.5),'`threshold` is for a table')])
def test_options_that_do_not_fit(tmp_path, kw, match): refused(match, write(tmp_path/'s.h5', images=IMAGES, ans=Y), **kw)

@pytest.mark.parametrize('data,match', [({},'holds no images'), (dict(ra=Y),'holds no images: expected a dataset `images`, N×H×W×3, got ra \\(40\\)'), ({f'g{i}':IMAGES[i] for i in range(N)},'holds 40 datasets of the shape 16×16×3, one for each image'),
    (dict(images=IMAGES.reshape(N,-1),ans=Y),'40 rows of 768 numbers'), (dict(images=[b'a.jpg']*N,ans=Y),'expected pixels'), (dict(images=IMAGES[...,:2],ans=Y),'2 bands, which do not make a color image'),
    (dict(images=IMAGES),'has no dataset of labels beside `images`'), (dict(images=IMAGES[:,:8],ans=Y),'images must be square, got 16×8 px'), (dict(images=IMAGES[None],ans=Y),'got shape 1×40×16×16×3'),
    (dict(images=IMAGES*(1+1j),ans=Y),'expected pixels'), (dict(images=IMAGES[:0],ans=Y[:0]),'there are no images'), (dict(images=IMAGES,ans=Y[:9]),'one label per image, got 9 labels')])
def test_what_is_no_survey(tmp_path, data, match):
    with pytest.raises(ValueError, match=match) as e: get_survey(write(tmp_path/'s.h5', **data))
    assert '\n' not in str(e.value)

def test_images_of_several_sizes(tmp_path):
    with h5py.File(tmp_path/'s.h5','w') as f:
        d = f.create_dataset('images', N, h5py.vlen_dtype(np.float32)); f['ans'] = Y
        for i in range(N): d[i] = np.zeros(64+i, 'f4')
    refused('expected pixels, N×H×W×3 numbers, got arrays of several sizes', tmp_path/'s.h5')

def test_labels_that_are_none(tmp_path, capsys):
    p = write(tmp_path/'s.h5', images=IMAGES, y=np.linspace(0,1,N))
    with pytest.raises(ValueError, match='labels must be whole numbers or text, got 0.0256'): get_survey(p)
    s = get_survey(p, labelled=None)
    assert not s.classes and '`y` is not used' in s.notes[0] and list(s.table)==['y'] or s.notes
    assert 'is not used' in capsys.readouterr().err

# ---------------------------------------------------------------- values of labels

VALUES = {
    'from 0':(Y,CLASSES), 'from 1':(Y+1,[f'class {i+1}' for i in range(4)]), 'gaps':(np.array([0,2,7,90])[Y],['class 0','class 2','class 7','class 90']), 'uint64':(Y.astype('u8'),CLASSES),
    'big-endian':(Y.astype('>i4'),CLASSES), 'column':(Y[:,None],CLASSES), 'row':(Y[None],CLASSES), 'float':(Y.astype('f8'),CLASSES), 'bytes':(np.array(['a','b','c','d'],'S')[Y],list('abcd')),
    'text':(np.array(['E','S0','Sb','Irr'],object)[Y],['E','Irr','S0','Sb']), 'numbers as text':(np.array(['9','10','11','100'],'S')[Y],['class 9','class 10','class 11','class 100']),
    'one-hot float':(np.eye(4)[Y],CLASSES), 'one-hot int':(np.eye(4,dtype='i8')[Y],CLASSES), 'one-hot bool':(np.eye(4,dtype=bool)[Y],CLASSES)}
@pytest.mark.parametrize('tag', VALUES)
def test_label_values(tmp_path, tag):
    v,classes = VALUES[tag]
    if tag=='text': v = v.astype(h5py.string_dtype())
    s = get_survey(write(tmp_path/'s.h5', images=IMAGES, ans=v))
    assert s.classes==classes and sorted(set(s.labels))==[0,1,2,3]
    want = Y if tag!='text' else np.array([0,2,3,1])[Y]
    assert s.labels.tolist()==want.tolist()
    assert score_predictions(s.labels, s.labels, s.classes)['macro_f1']==1
    t = get_survey(ingest(tmp_path/'s.h5', tmp_path/'o.h5', **AS_IS))
    assert t.classes==classes and t.labels.tolist()==s.labels.tolist()

@pytest.mark.parametrize('none', [-1,-9,-99,-999,-9999,np.nan])
def test_no_label(tmp_path, none):
    v = np.where(np.arange(N)<5, none, Y)
    s = get_survey(write(tmp_path/'s.h5', images=IMAGES, ans=v))
    assert s.classes==CLASSES and s.labels.tolist()==[-1]*5+Y[5:].tolist()

@pytest.mark.parametrize('none', ['','nan','NaN','None','<NA>','NaT','N/A','n/a','NA','#N/A','null','NULL','--','-','masked'])
def test_text_that_means_no_label(tmp_path, none):
    assert missing_text([none,'E','0','none']).tolist()==[True,False,False,False]
    v = [none]*5+[('E','S')[i%2] for i in range(N-5)]
    s = get_survey(write(tmp_path/'s.h5', images=IMAGES, ans=v))
    assert s.classes==['E','S'] and s.labels[:6].tolist()==[-1]*5+[0]
    assert (f"5 labels read {none!r}: no label" in s.notes)==(none!='')

MISSING = {'None':np.array(['a','b',None],object), 'nan':np.array(['a','b',np.nan],object), 'NA':pd.Series(['a','b',pd.NA],dtype='string'), 'category':pd.Categorical(['a','b',None]),
           'Series':pd.Series(['a','b',None]), 'masked':np.ma.masked_array(['a','b','c'],[0,0,1]), 'list':['a','b',None], 'bytes':[b'a',b'b',b'N/A']}
@pytest.mark.parametrize('tag', MISSING)
def test_missing_values_of_python(tag): assert as_classes(MISSING[tag])[:2][0].tolist()==[0,1,-1] and as_classes(MISSING[tag]).classes==['a','b']

@pytest.mark.parametrize('v', [pd.array([0,2,None],'Int64'), np.ma.masked_array([0,2,5],[0,0,1]), [0,2.0,float('nan')], np.array([0,2,None],object), ['0.0','2',''], [0,2,-99], np.array([[0],[2],[-1]]), pd.Series([0,2,pd.NA],dtype='UInt8')])
def test_missing_numbers_of_python(v):
    c = as_classes(v, prefix='class ')
    assert c.labels.tolist()==[0,1,-1] and c.classes==['class 0','class 2']

@pytest.mark.parametrize('v,match', [(np.random.default_rng(0).random(N),'labels must be whole numbers or text, got 0.6369'), (np.random.default_rng(0).dirichlet([1]*4,N),'one-hot with a single 1 in each row'),
    (np.arange(N)+587722981742084096,'40 different labels for 40 images are not classes'), ([f'J{i:06}' for i in range(N)],"40 different labels .* 'J000000'"), (Y-7,'class numbers must be 0 or more .* got -7'),
    (np.eye(4)[Y]+np.eye(4)[0],'one-hot with a single 1'), (np.zeros((N,2,2)),'expected one label per image'), (np.full(N,np.inf),'got inf'), ((Y+.5).astype('S'),'got 0.5')])
def test_labels_that_are_no_classes(tmp_path, v, match): refused(match, write(tmp_path/'s.h5', images=IMAGES, ans=v))

@pytest.mark.parametrize('where', ['file','labels','dataset','json','commas','bytes'])
@pytest.mark.parametrize('first', [0,1])
def test_class_names(tmp_path, where, first):
    names = ['E','S0','Sb','Irr']
    p = write(tmp_path/'s.h5', images=IMAGES, ans=Y+first, **({'class_names':names} if where=='dataset' else {}))
    with h5py.File(p,'a') as f:
        if where=='file': f.attrs['classes'] = names
        if where=='labels': f['ans'].attrs['label_names'] = names
        if where=='json': f.attrs['class_names'] = json.dumps(names)
        if where=='commas': f['ans'].attrs['names'] = 'E, S0, Sb, Irr'
        if where=='bytes': f.attrs['classes'] = np.array(names,'S')
    s = same(get_survey(p))
    assert s.classes==names and ("labels run from 1 to 4: 1 is 'E'" in s.notes)==(first==1)

@pytest.mark.parametrize('attr', ['classes','CLASSES','ClassNames','class-names','label_names','target_names','names','categories','Category_Names'])
def test_spellings_of_class_names(tmp_path, attr):
    s = same(get_survey(write(tmp_path/'s.h5', {attr:['E','S0','Sb','Irr']}, images=IMAGES, ans=Y)))
    assert s.classes==['E','S0','Sb','Irr']

def test_names_that_are_of_something_else(tmp_path):
    s = same(get_survey(write(tmp_path/'s.h5', dict(names=['objid','ra','dec','z','g']), images=IMAGES, ans=Y)))
    assert s.classes==CLASSES

NUMBERED = dict(forward={'E':0,'S0':1,'Sb':2,'Irr':3}, gaps={'E':0,'S0':2,'Sb':5,'Irr':7}, ones={'E':1,'S0':2,'Sb':3,'Irr':4}, more={'E':0,'S0':2,'Sb':3,'Irr':4,'D':9})
@pytest.mark.parametrize('way', ['name to number','number to name'])
@pytest.mark.parametrize('tag', NUMBERED)
def test_names_with_their_numbers(tmp_path, tag, way):
    of = NUMBERED[tag]
    told = json.dumps(of if way=='name to number' else {v:k for k,v in of.items()})
    values = np.array(list(of.values())[:4])[Y]
    s = same(get_survey(write(tmp_path/'s.h5', dict(class_to_idx=told), images=IMAGES, ans=values)))
    assert s.classes==list(of) and ("no image has the class 'D'" in s.notes)==(tag=='more')
    few = Y%2 # of four classes only two are there: their numbers still say which
    assert get_survey(write(tmp_path/'t.h5', dict(label_map=told), images=IMAGES, ans=np.where(few, *[list(of.values())[i] for i in (2,1)]))).labels.tolist()==np.where(few, 2, 1).tolist()
    some = np.where(np.arange(N)<5, -1, values)
    assert get_survey(write(tmp_path/'u.h5', dict(classes=told), images=IMAGES, ans=some)).labels.tolist()==np.where(np.arange(N)<5, -1, Y).tolist()
    if tag=='gaps': refused(r'\(`ans`\): the label 3 has no name; the file names 0, 2, 5, 7', write(tmp_path/'v.h5', dict(classes=told), images=IMAGES, ans=Y+3))

@pytest.mark.parametrize('values', [['E','S0','Sb','Irr'], [' e','S0 ','Sb','irr']])
@pytest.mark.parametrize('key', ['ans','label','target','y','Class'])
@pytest.mark.parametrize('named', [True,False])
def test_texts_of_any_length(tmp_path, values, key, named):
    s = get_survey(write(tmp_path/'s.h5', dict(classes=['E','S0','Sb','Irr']) if named else {}, images=IMAGES, **{key:np.array(values, object)[Y]}))
    assert [s.classes[i].lower() for i in s.labels]==[values[i].strip().lower() for i in Y] and (not named or s.classes==['E','S0','Sb','Irr'])

@pytest.mark.parametrize('name', ['y.npy','y.npz','y.h5'])
def test_labels_in_a_file_of_their_own(tmp_path, name):
    np.save(tmp_path/'im.npy', IMAGES)
    p = tmp_path/name
    if name=='y.npy': np.save(p, Y)
    elif name=='y.npz': np.savez(p, labels=Y, ra=Y)
    else: write(p, target=Y)
    s = same(get_survey(tmp_path/'im.npy', labels=p))
    assert s.classes==CLASSES and f'labels from {name}' in s.notes
    assert same(get_survey(ingest(tmp_path/'im.npy', tmp_path/'o.h5', labels=str(p), **AS_IS))).classes==CLASSES
    np.savez(tmp_path/'two.npz', a=Y, b=Y)
    refused('must hold one array of labels', tmp_path/'im.npy', labels=tmp_path/'two.npz')

@pytest.mark.parametrize('v,told', [(Y,True), (np.array(['E','S0','Sb','Irr'],'S')[Y],True), (Y>1,True), (np.linspace(0,1,N),False), (np.arange(N),False), (np.zeros(N,int),False)])
def test_what_may_be_labels_is_said(tmp_path, v, told, capsys):
    s = get_survey(write(tmp_path/'s.h5', images=IMAGES, morphology=v, ra=Y), labelled=None)
    assert s.classes==[] and any('if `morphology` holds them' in o for o in s.notes)==told

def test_class_that_no_image_has(tmp_path):
    s = get_survey(write(tmp_path/'s.h5', dict(classes=['E','S0','Sb','Irr','D']), images=IMAGES, ans=Y))
    assert len(s.classes)==5 and "no image has the class 'D'" in s.notes
    with pytest.raises(ValueError, match='labels must lie in 0 to 2 or 1 to 3 .* since there are 3 class names, got 4'):
        get_survey(write(tmp_path/'s.h5', dict(classes=['E','S0','Sb']), images=IMAGES, ans=Y+1))

def test_enumeration(tmp_path):
    with h5py.File(tmp_path/'s.h5','w') as f: f['images'] = IMAGES; f.create_dataset('ans', data=Y.astype('i1'), dtype=h5py.enum_dtype(dict(E=0,S0=1,Sb=2,Sc=3), 'i1'))
    assert same(get_survey(tmp_path/'s.h5')).classes==['E','S0','Sb','Sc']

def test_published_name_keeps_its_classes(tmp_path):
    s = get_survey(write(tmp_path/'Galaxy10_DECals.h5', images=IMAGES, ans=Y.astype('u1')))
    assert s.classes==list(SURVEYS['decals'].classes) and s.labels.tolist()==Y.tolist() and 'no image has the class' in s.notes[0]

# ---------------------------------------------------------------- labels from elsewhere

IDS = [f'g{i:02}.jpg' for i in range(N)]
@pytest.mark.parametrize('labels', [Y, Y.tolist(), pd.Series(Y, index=range(100,100+N)), Y[:,None], np.eye(4)[Y], pd.array(Y,'Int64')], ids=['array','list','Series','column','one-hot','Int64'])
@pytest.mark.parametrize('kind', ['h5','npy'])
def test_labels_as_an_array(tmp_path, labels, kind):
    p = tmp_path/f's.{kind}'
    if kind=='npy': np.save(p, IMAGES)
    else: write(p, images=IMAGES)
    assert same(get_survey(p, labels=labels)).classes==CLASSES
    assert same(get_survey(ingest(p, tmp_path/'o.h5', **AS_IS, labels=labels))).classes==CLASSES

@pytest.mark.parametrize('form', ['path','frame','dict'])
def test_labels_from_a_table(tmp_path, form):
    p = write(tmp_path/'s.h5', images=IMAGES, ids=np.array(IDS,'S'), mag=np.arange(N)/2)
    t = pd.DataFrame(dict(file=IDS,label=np.array(list('abcd'))[Y],ra=np.arange(N)/10.)).iloc[::-1].iloc[:-3]
    t.to_csv(tmp_path/'t.csv', index=False)
    given = dict(path=tmp_path/'t.csv', frame=t, dict={k:v.tolist() for k,v in t.items()})[form]
    want = [-1]*3+Y[3:].tolist()
    for s in get_survey(p, labels=given), get_survey(ingest(p, tmp_path/'o.h5', **AS_IS, labels=given)):
        same(s, labels=want)
        assert s.classes==list('abcd') and s.ids==IDS and list(s.table.mag)==list(np.arange(N)/2) and list(s.table.ra[3:].astype(float))==[i/10 for i in range(3,N)]

# ---------------------------------------------------------------- orders of axes, types, brightness

GRAY = np.repeat(IMAGES[...,:1], 3, -1)
RGBA = np.concatenate([IMAGES, np.full((N,S,S,1), 255, 'u1')], -1)
FIVE = np.concatenate([IMAGES[...,::-1], IMAGES[...,:2]], -1)
LAYOUTS = {'N×H×W×3':(IMAGES,IMAGES,{}), 'N×3×H×W':(IMAGES.transpose(0,3,1,2),IMAGES,{}), 'N×H×W':(IMAGES[...,0],GRAY,{}), 'N×H×W×1':(IMAGES[...,:1],GRAY,{}), 'N×1×H×W':(IMAGES[:,None,...,0],GRAY,{}),
    'RGBA':(RGBA,IMAGES,{}), 'RGBA first':(RGBA.transpose(0,3,1,2),IMAGES,{}), 'five bands':(FIVE,IMAGES,dict(bands=(0,1,2))), 'five bands first':(FIVE.transpose(0,3,1,2),IMAGES,dict(bands=[0,1,2])),
    'bands of RGB':(IMAGES,IMAGES[...,::-1],dict(bands=(0,1,2))), 'H×W×3×N':(IMAGES.transpose(1,2,3,0),IMAGES,{}), '3×H×W×N':(IMAGES.transpose(3,1,2,0),IMAGES,{}), 'H×W×N':(IMAGES[...,0].transpose(1,2,0),GRAY,{})}
@pytest.mark.parametrize('tag', LAYOUTS)
@pytest.mark.parametrize('kind', ['h5','npz','chunks'])
def test_layouts(tmp_path, tag, kind):
    x,want,kw = LAYOUTS[tag]
    p = tmp_path/f"s.{'npz' if kind=='npz' else 'h5'}"
    if kind=='npz': np.savez_compressed(p, images=x, ans=Y)
    else:
        with h5py.File(p,'w') as f: f.create_dataset('images', data=x, **(dict(chunks=True,compression='gzip') if kind=='chunks' else {})); f['ans'] = Y
    s = same(get_survey(p, **kw), want)
    if tag!='N×H×W×3': assert s.notes
    small = get_survey(p, size=8, **kw)
    t = get_survey(ingest(p, tmp_path/'o.h5', crop=None, size=8, check=False, **kw))
    assert (small.images==t.images).all() and t.notes==small.notes
    assert abs(small.images.astype(int)-np.stack([cv2.resize(o,(8,8),interpolation=cv2.INTER_AREA) for o in want])).max()<=1

def test_plain_and_channel_first_are_mapped(tmp_path):
    for x in IMAGES,IMAGES.transpose(0,3,1,2).copy():
        assert isinstance(same(get_survey(write(tmp_path/'s.h5', images=x, ans=Y))).images, np.memmap)
    np.savez(tmp_path/'s.npz', images=IMAGES, ans=Y); np.save(tmp_path/'s.npy', IMAGES)
    assert isinstance(same(get_survey(tmp_path/'s.npz')).images, np.memmap) and isinstance(same(get_survey(tmp_path/'s.npy', labelled=None), labels=None).images, np.memmap)

@pytest.mark.parametrize('x,match', [(FIVE,'5 bands; pass those that are blue, green and red, such as bands=\\(0,1,2\\)'), (np.concatenate([IMAGES,IMAGES[...,:1]],-1),'4 bands; pass those'),
    (IMAGES[...,:2],'2 bands'), (np.zeros((N,12,12,12),'u1'),'can be read in several ways')])
def test_layouts_that_need_a_word(tmp_path, x, match): refused(match, write(tmp_path/'s.h5', images=x, ans=Y))

@pytest.mark.parametrize('shape', ['H×W×3×N','H×W×N','N×H×W×3'])
def test_matlab(tmp_path, shape):
    x = IMAGES[...,0] if shape=='H×W×N' else IMAGES
    m = {'H×W×3×N':(1,2,3,0),'H×W×N':(1,2,0),'N×H×W×3':(0,1,2,3)}[shape]
    with h5py.File(tmp_path/'s.mat','w', userblock_size=512) as f:
        for k,v in dict(images=x.transpose(m), labels=Y[:,None]+1.).items():
            f[k] = v.T; f[k].attrs['MATLAB_class'] = np.bytes_('uint8' if k=='images' else 'double')
    s = same(get_survey(tmp_path/'s.mat'), GRAY if shape=='H×W×N' else IMAGES)
    assert s.classes==[f'class {i+1}' for i in range(4)] and any('MATLAB' in o for o in s.notes)

def test_matlab_cells(tmp_path):
    with h5py.File(tmp_path/'s.mat','w') as f:
        f['images'] = IMAGES.transpose(0,3,2,1); f['images'].attrs['MATLAB_class'] = np.bytes_('uint8')
        refs = []
        for i in range(N): f[f'#refs#/{i}'] = np.array([[ord(o)] for o in ('spiral','smooth','edge','odd')[Y[i]]],'u2'); refs.append(f[f'#refs#/{i}'].ref)
        f.create_dataset('label', data=np.array(refs,dtype=h5py.ref_dtype)[None], dtype=h5py.ref_dtype); f['label'].attrs['MATLAB_class'] = np.bytes_('cell')
    s = same(get_survey(tmp_path/'s.mat'), labels=None)
    assert s.classes==['edge','odd','smooth','spiral'] and s.labels[:4].tolist()==[3,2,0,1]

TYPES = {'float32':((IMAGES/255).astype('f4'),'32-bit floats: 0 to 1'), 'float64':(IMAGES/255,'64-bit floats: 0 to 1'), 'float16':((IMAGES/255).astype('f2'),'16-bit floats: 0 to 1'), 'big-endian':((IMAGES/255).astype('>f4'),'32-bit floats: 0 to 1'),
    'float 0..255':(IMAGES.astype('f4'),'0 to 255'), '-1..1':((IMAGES/127.5-1).astype('f4'),'-1 to 1'), '16 bits':(IMAGES.astype('u2')*257,'16-bit pixels: 0 to 65535'), '8 in 16':(IMAGES.astype('u2'),'that hold 8 bits'), 'int64':(IMAGES.astype('i8'),'that hold 8 bits'),
    'int16':(IMAGES.astype('i2'),'that hold 8 bits'), '>u2':(IMAGES.astype('>u2')*257,'0 to 65535')}
@pytest.mark.parametrize('tag', TYPES)
def test_types(tmp_path, tag, capsys):
    x,note = TYPES[tag]
    same(get_survey(write(tmp_path/'s.h5', images=x, ans=Y)))
    assert note in capsys.readouterr().err
    s = same(get_survey(ingest(tmp_path/'s.h5', tmp_path/'o.h5', **AS_IS)))
    assert any(note in o for o in s.notes) and isinstance(s.images, np.memmap)

@pytest.mark.parametrize('bits', [10,12,14])
def test_bits_in_16(tmp_path, bits):
    x = np.rint(IMAGES/255*(2**bits-1)).astype('u2')
    s = get_survey(write(tmp_path/'s.h5', images=x, ans=Y))
    assert abs(s.images.astype(int)-IMAGES).max()<=1 and s.notes==[f'16-bit pixels that hold {bits} bits: 0 to {2**bits-1} become black to white']
    s = get_survey(tmp_path/'s.h5', value_range=(0,2**bits*2))
    assert abs(s.images*2.-IMAGES).max()<=3

def test_bool(tmp_path): same(get_survey(write(tmp_path/'s.h5', images=IMAGES>99, ans=Y)), (IMAGES>99).astype('u1')*255)

FLUX = (IMAGES[...,::-1]/255*2-.1).astype('f4')
@pytest.mark.parametrize('x', [FLUX, FLUX.transpose(0,3,1,2).copy(), FLUX.astype('>f8'), np.rint(FLUX*900).astype('i2'), FLUX[...,1]], ids=['last','first','>f8','int16','gray'])
def test_flux(tmp_path, x, capsys):
    s = get_survey(write(tmp_path/'s.h5', images=x, ans=Y))
    assert 'flux' in capsys.readouterr().err and s.images.dtype==np.uint8
    want = IMAGES if x.ndim==4 else np.repeat(IMAGES[...,1:2],3,-1)
    for c in range(3): assert np.corrcoef(s.images[...,c].ravel(), want[...,c].ravel())[0,1]>.8
    assert s.images[...,0].astype(int).sum()>s.images[...,2].sum() if x.ndim==4 else (s.images[...,0]==s.images[...,2]).all() # red to blue, or gray
    t = get_survey(ingest(tmp_path/'s.h5', tmp_path/'o.h5', **AS_IS))
    assert (t.images==s.images).all() and t.notes==s.notes
    got = get_survey(tmp_path/'s.h5', value_range=(-.1,1.9) if x.dtype.kind=='f' else (-90,1710))
    assert abs(got.images.astype(int)-(IMAGES[...,::-1] if x.ndim==4 else np.repeat(IMAGES[...,1:2],3,-1))).max()<=1

@pytest.mark.parametrize('x', [FLUX, (IMAGES/255).astype('f4')], ids=['flux','picture'])
def test_pixels_without_a_number(tmp_path, x):
    x = x.copy()
    x[3,:2,:2],x[5] = np.nan,np.nan
    s = get_survey(write(tmp_path/'s.h5', images=x, ans=Y))
    assert len(s)==N-1 and s.skipped==[('image 5','has no data in 100% of its pixels, more than 25%')] and s.images[3,:2,:2].max()<90
    t = get_survey(ingest(tmp_path/'s.h5', tmp_path/'o.h5', **AS_IS))
    assert t.skipped==s.skipped and (t.images==s.images).all() and t.labels.tolist()==np.delete(Y,5).tolist()

@pytest.mark.parametrize('ext', ['.png','.jpg'])
@pytest.mark.parametrize('how', ['vlen','S'])
def test_encoded_images(tmp_path, ext, how):
    files = [png(o,ext) for o in IMAGES]
    with h5py.File(tmp_path/'s.h5','w') as f:
        f['ans'] = Y
        if how=='vlen':
            d = f.create_dataset('images', N, h5py.vlen_dtype(np.uint8))
            for i,o in enumerate(files): d[i] = np.frombuffer(o,'u1')
        else: f['images'] = np.array(files)
    want = np.stack([cv2.imdecode(np.frombuffer(o,'u1'),1)[...,::-1] for o in files])
    s = same(get_survey(tmp_path/'s.h5'), want)
    assert s.notes==['image files in `images`, decoded']
    same(get_survey(ingest(tmp_path/'s.h5', tmp_path/'o.h5', **AS_IS)), want)

# ---------------------------------------------------------------- unusable images

@pytest.mark.parametrize('n', [20,90])
@pytest.mark.parametrize('kind', ['folder','vlen'])
def test_one_broken_image(tmp_path, n, kind, capsys):
    files = [png(o) for o in galaxies(n)]
    files[7] = b'<html>503</html>' if kind=='folder' else files[7][:40]
    if kind=='folder':
        p = tmp_path/'k'; p.mkdir()
        for i,o in enumerate(files): (p/f'g{i:03}.png').write_bytes(o)
        (p/'labels.csv').write_text('file,label\n'+''.join(f'g{i:03}.png,{"abcd"[i%4]}\n' for i in range(n)))
    else:
        p = tmp_path/'k.h5'
        with h5py.File(p,'w') as f:
            f['ans'],d = np.arange(n)%4,f.create_dataset('images', n, h5py.vlen_dtype(np.uint8))
            for i,o in enumerate(files): d[i] = np.frombuffer(o,'u1')
    s = get_survey(p)
    name = 'g007.png' if kind=='folder' else 'image 7'
    assert len(s)==n-1 and s.skipped[0][0]==name and f'{n-1} images; 1 not used ({name} ' in capsys.readouterr().err
    t = get_survey(ingest(p, tmp_path/'o.h5', **AS_IS))
    assert t.skipped==s.skipped and (t.images==s.images).all() and t.labels.tolist()==s.labels.tolist()
    with pytest.raises(ValueError, match=r'more than 0 % of the .* allow more with `max_bad` \(--max-bad\)'): get_survey(p, max_bad=0)

@pytest.mark.parametrize('bad', [[0],[0,1,2],[5,6]])
@pytest.mark.parametrize('content', [b'<html>',b'',b'oops'])
def test_broken_ones_among_the_first(tmp_path, bad, content):
    with h5py.File(tmp_path/'k.h5','w') as f:
        f['ans'],d = Y,f.create_dataset('images', N, h5py.vlen_dtype(np.uint8))
        for i,o in enumerate(IMAGES): d[i] = np.frombuffer(content if i in bad else png(o),'u1')
    if len(bad)>1: refused(rf'more than 1 % of the 40 images cannot be used; the first, image {bad[0]}, .*`max_bad`', tmp_path/'k.h5')
    same(get_survey(tmp_path/'k.h5', max_bad=.1), np.delete(IMAGES, bad, 0), np.delete(Y, bad))

@pytest.mark.parametrize('call', [get_survey, lambda p,**kw: ingest(p, p.parent/'o.h5', **AS_IS, **kw)], ids=['get_survey','ingest'])
def test_too_many_broken_images(tmp_path, call):
    p = tmp_path/'k'; p.mkdir()
    for i,o in enumerate(IMAGES): (p/f'g{i:03}.png').write_bytes(png(o) if i>2 else b'')
    with pytest.raises(ValueError, match=r'more than 1 % of the 40 images cannot be used; the first, g000.png, is empty; allow more with `max_bad` \(--max-bad\)'): call(p, labels=None, **(dict(labelled=None) if call is get_survey else {}))
    s = call(p, max_bad=.1, **(dict(labelled=None) if call is get_survey else {}))
    if call is get_survey: assert len(s)==N-3 and len(s.skipped)==3
    for o in p.iterdir(): o.write_bytes(b'')
    with pytest.raises(ValueError, match='none of the 40 images can be used'): call(p, max_bad=1, **(dict(labelled=None) if call is get_survey else {}))

# ---------------------------------------------------------------- paths and files

@pytest.mark.parametrize('name', ['a, b.h5','a;b.h5','a b.h5','a#1.h5','50%.h5','galaxiés.h5','galaxie\u0301s.h5','2024.h5','[x].h5','s.hdf5','s.hdf','s.he5','S.H5','s.nc','s','s.dat','-s.h5'])
def test_file_names(tmp_path, name): same(get_survey(write(tmp_path/name, images=IMAGES, ans=Y)))

@pytest.mark.parametrize('name', ['a, b','a;b','a b','2024','galaxiés','a#1','50%','decals/'])
def test_folder_names(tmp_path, name, monkeypatch):
    (tmp_path/name).mkdir()
    for i,o in enumerate(IMAGES): (tmp_path/name/f'g {i:02}, x.png').write_bytes(png(o))
    same(get_survey(f'{tmp_path/name}/', labelled=None), labels=None)
    same(get_survey(ingest(str(tmp_path/name), tmp_path/'o.h5', **AS_IS)), labels=None)

@pytest.mark.parametrize('kind', ['slash','home','link','folder link','relative','bytes of Path'])
def test_ways_to_write_a_path(tmp_path, kind, monkeypatch):
    p = write(tmp_path/'s.h5', images=IMAGES, ans=Y)
    monkeypatch.chdir(tmp_path); monkeypatch.setenv('HOME', str(tmp_path))
    if kind=='link': os.symlink(p, tmp_path/'l.h5'); p = tmp_path/'l.h5'
    if kind=='folder link': os.symlink(tmp_path, tmp_path/'here'); p = tmp_path/'here'/'s.h5'
    same(get_survey({'slash':f'{p}/','home':'~/s.h5','relative':'./s.h5'}.get(kind, p)))
    same(get_survey(ingest({'slash':f'{p}/','home':'~/s.h5','relative':'s.h5'}.get(kind, p), '~/o.h5', **AS_IS)))

def test_signature(tmp_path):
    write(tmp_path/'s.bin', images=IMAGES, ans=Y)
    (tmp_path/'t.bin').write_bytes(b'no')
    assert is_array_file(tmp_path/'s.bin') and not is_array_file(tmp_path/'t.bin') and not is_array_file(tmp_path)

@pytest.mark.parametrize('name,head,match', [('s.mat',b'MATLAB 5.0 MAT-file','a .mat of a version before 7.3: save it with'), ('s.hdf',b'\x0e\x03\x13\x01','HDF4: convert it'), ('s.nc',b'CDF\x02','netCDF 3: convert it'),
    ('s.pt',b'PK\x03\x04','a file of PyTorch, which is not read .* as .npz'), ('s.pkl',b'\x80\x04','pickled Python objects, which is not read'), ('s.h5',b'<html>','it is a web page'), ('s.h5',b'','may be cut short'), ('s.npz',b'PK\x03\x04','not a readable .npz'), ('s.npy',b'\x93NUMPY','not a readable .npy')])
def test_files_of_other_kinds(tmp_path, name, head, match):
    (tmp_path/name).write_bytes(head+bytes(700)*bool(head))
    refused(match, tmp_path/name)

@pytest.mark.parametrize('name,make,match', [('z.zarr',lambda p: (p.mkdir(),(p/'.zgroup').write_text('{}')),'is a Zarr store, which is not read'), ('s.h5.gz',lambda p: p.write_bytes(b'\x1f\x8b'),'is compressed; unpack it and pass s.h5'),
    ('s.h5',lambda p: p.write_bytes(b'PK\x03\x04'+bytes(99)),'it is a zip archive'), ('none.npz',lambda p: None,'there is no file or folder')])
def test_other_ways_to_be_wrong(tmp_path, name, make, match):
    make(tmp_path/name)
    refused(match, tmp_path/name)

@pytest.mark.parametrize('name', ['w.npz','w.npy','w.zip','w.pt'])
def test_hdf5_by_another_name(tmp_path, name): same(get_survey(write(tmp_path/name, images=IMAGES, ans=Y)))

def test_npz_by_another_name(tmp_path):
    np.savez(tmp_path/'a.npz', images=IMAGES, ans=Y)
    same(get_survey((tmp_path/'a.npz').rename(tmp_path/'a.h5')))

def test_a_file_that_is_being_written(tmp_path):
    import subprocess
    with h5py.File(tmp_path/'s.h5','w') as f:
        f['images'],f['ans'] = IMAGES,Y
        f.flush()
        r = subprocess.run([sys.executable,'-W','ignore','-c',f"from galaxy_ssl.data import get_survey; get_survey({str(tmp_path/'s.h5')!r})"], capture_output=True, text=True)
    assert r.returncode==0 or r.stderr.strip().split('\n')[-1].endswith('a program that has it open for writing must close it first)')

def test_pickled_arrays(tmp_path):
    np.save(tmp_path/'o.npy', np.array([IMAGES[0],IMAGES[1][:5]],object), allow_pickle=True)
    np.savez(tmp_path/'o.npz', images=np.array([IMAGES[0],IMAGES[1][:5]],object), ans=[0,1])
    refused('pickled Python objects, which are not read', tmp_path/'o.npy'); refused('pickled Python objects, which are not read', tmp_path/'o.npz')

@pytest.mark.parametrize('files', [['a.h5'], ['a.h5','b.npz']])
def test_folder_of_array_files(tmp_path, files):
    (tmp_path/'d').mkdir()
    for o in files: write(tmp_path/'d'/o, images=IMAGES, ans=Y)
    with pytest.raises(ValueError, match=f"d is a folder with no images in files, but with {', '.join(files)}: pass the file itself, such as .*a.h5") as e: get_survey(tmp_path/'d')
    with pytest.raises(ValueError, match='pass the file itself'): ingest(tmp_path/'d', tmp_path/'o.h5')

@pytest.mark.parametrize('name', ['decals','sim_sdss'])
def test_own_folder_named_like_a_published_survey(tmp_path, name, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path); monkeypatch.setattr(opening, 'SIM_LABELLED', 10); monkeypatch.setattr(opening, 'SIM_UNLABELLED', 0)
    Path(name).mkdir()
    for i,o in enumerate(IMAGES): Path(name,f'{i:02}.png').write_bytes(png(o))
    try: get_survey(name, size=16, root=tmp_path/'r')
    except Exception as e: assert type(e).__name__=='SurveyNotFound'
    assert f"'./{name}' would open your own" in capsys.readouterr().err
    same(get_survey(f'./{name}', labelled=None), labels=None)
    with pytest.raises(ValueError, match='`labels` is for your own files'): get_survey(name, labels='folders')
    with pytest.raises(ValueError, match='`bands` is for your own files'): get_survey(name, bands=(0,1,2))

# ---------------------------------------------------------------- there and back

def test_round_trip(tmp_path):
    table = dict(ra=np.linspace(0,9,N), dec=-np.linspace(0,9,N), name=np.array([f'régulière {i}'.encode() for i in range(N)]), bright=Y>2, z=np.arange(N,dtype='f4'))
    p = write(tmp_path/'s.h5', dict(classes=list('abcd')), images=IMAGES, target=Y, ids=np.array(IDS,'S'), **table)
    s = get_survey(p)
    a = ingest(p, tmp_path/'a.h5', **AS_IS)
    b = ingest(a, tmp_path/'b.h5', crop=8, size=None)
    for o in map(get_survey, (a,b)):
        assert (o.labels.tolist(),o.classes,o.ids,o.skipped,o.notes)==(s.labels.tolist(),s.classes,s.ids,s.skipped,s.notes)
        pd.testing.assert_frame_equal(o.table[sorted(o.table)], s.table[sorted(s.table)])
    assert s.notes==['labels from `target`'] and s.table['name'][3]=='régulière 3' and s.table.bright.dtype==bool
    assert 'target' in str(get_survey(p, labelled=None).notes) and get_survey(p, labelled=False).classes==[]

def test_a_table_from_astropy(tmp_path):
    t = np.zeros(N, [('ra','f8'),('label','S3'),('n','i4')]); t['ra'],t['label'],t['n'] = np.arange(N),np.array(['E','S0','Sb','Irr'],'S')[Y],Y
    s = get_survey(write(tmp_path/'s.h5', images=IMAGES, catalog=t))
    assert s.classes==['E','Irr','S0','Sb'] and list(s.table.ra)==list(range(N)) and 'labels from `catalog/label`' in s.notes

def test_what_ingest_said_is_not_said_again(tmp_path, capsys):
    src = write(tmp_path/'s.h5', images=IMAGES.transpose(0,3,1,2), target=Y, other=Y[::-1])
    a = ingest(src, tmp_path/'a.h5', **AS_IS)
    assert 'labels from `target`' in capsys.readouterr().err
    s = get_survey(a)
    assert capsys.readouterr().err=='' and 'labels from `target`' in s.notes
    get_survey(a, labels='other')
    assert 'labels from `other`' in capsys.readouterr().err
    get_survey(src)
    assert 'labels from `target`' in capsys.readouterr().err

@pytest.mark.parametrize('kind,match', [('bands of each','holds 60 datasets of the shape 16×16, in 20 groups, one for each image; put them together'), ('each','holds 20 datasets of the shape 16×16×3, in 20 groups'), ('bands','if they are bands of the same images, stack them along a fourth axis')])
def test_pieces_of_images(tmp_path, kind, match):
    data = {'bands of each':{f'{i}/{b}':IMAGES[i,...,j] for i in range(20) for j,b in enumerate('gri')}, 'each':{f'o{i}/image':IMAGES[i] for i in range(20)}, 'bands':{b:IMAGES[...,j] for j,b in enumerate('gri')}}[kind]
    refused(match, write(tmp_path/'s.h5', **data))

@pytest.mark.parametrize('x,word', [((IMAGES/160-1).astype('f4'),'value_range=(-1, 1)'), ((IMAGES//4).astype('i1')-40,'value_range=(-128, 127)'), ((IMAGES/20-1).astype('f4'),None)])
def test_flux_that_may_be_a_picture(tmp_path, x, word):
    notes = ' '.join(get_survey(write(tmp_path/'s.h5', images=x, ans=Y)).notes)
    assert 'that are flux' in notes and (word in notes if word else 'value_range' not in notes)

def test_what_is_not_used_is_said(tmp_path, capsys):
    p = write(tmp_path/'s.h5', images=IMAGES, ans=Y, target=Y[::-1], mask=IMAGES[...,0], features=np.zeros((N,7)), far=Y)
    with h5py.File(p,'a') as f: del f['far']; f['far'] = h5py.ExternalLink('gone.h5','/x')
    s = same(get_survey(p))
    said = capsys.readouterr().err
    for o in '`target` looks like labels too and is not used','not used: features (40×7), mask (40×16×16)','gone.h5, which is missing': assert o in said and any(o in k for k in s.notes)
    assert said.count('\n')==1
    same(get_survey(write(tmp_path/'plain.h5', images=IMAGES, ans=Y)))
    assert capsys.readouterr().err==''
