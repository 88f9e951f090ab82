"Images in files as people have them: FITS, pictures, archives, WebDataset and Parquet. Toy images, no network."
import bz2, gzip, io, json, lzma, os, tarfile, unicodedata, zipfile
from pathlib import Path
import cv2, numpy as np, pandas as pd, pytest
from astropy.io import fits
from PIL import Image
from galaxy_ssl.data import get_survey, ingest
from galaxy_ssl.survey.reading import find_path, open_images

N,S = 24,16
rng = np.random.default_rng(0)
Y = np.arange(N)%3
YY,XX = np.mgrid[:S,:S]-S/2+.5
BLOB = np.stack([np.exp(-np.hypot(XX, YY/q)/2) for q in (1,.5,.25)])
FLUX = (BLOB[Y][:,None]*np.array([1,2,3])[:,None,None]*20+rng.normal(0,.5,(N,3,S,S))).astype('f4')   # three bands, blue to red
PIX = np.clip(BLOB[Y][...,None]*[240,200,150]+rng.normal(8,2,(N,S,S,3)),0,255).astype(np.uint8)

def one_sentence(e): assert '\n' not in str(e.value) and 'Traceback' not in str(e.value)
def png(a, fmt='PNG', mode=None, **kw):
    b,im = io.BytesIO(),Image.fromarray(a)
    (im.convert(mode) if mode else im).save(b, fmt, **kw)
    return b.getvalue()
def enc(a, ext='.png'): return cv2.imencode(ext, np.ascontiguousarray(a[...,::-1]) if a.ndim==3 else a)[1].tobytes()
MADE = {}
def hdus(*pairs, primary=None, **header):
    "A FITS file of (name, array) extensions; the same one is made once"
    raw = lambda v: None if v is None else (v.tobytes(),v.shape,v.dtype.str)
    key = raw(primary),tuple((k,raw(v)) for k,v in pairs),tuple(header.items())
    if key not in MADE:
        b,p = io.BytesIO(),fits.PrimaryHDU(primary)
        p.header.update(header)
        fits.HDUList([p, *(fits.ImageHDU(v, name=k) if k else fits.ImageHDU(v) for k,v in pairs)]).writeto(b, output_verify='ignore')
        MADE[key] = b.getvalue()
    return MADE[key]
def one(a, **header): return hdus(primary=np.ascontiguousarray(a), **header)
def folder(path, files):
    for k,v in files.items():
        (path/k).parent.mkdir(parents=True, exist_ok=True)
        (path/k).write_bytes(v if isinstance(v,bytes) else v.encode())
    return path
def to_zip(path, files):
    with zipfile.ZipFile(path,'w') as z:
        for k,v in files.items(): z.writestr(k, v)
    return path
def to_tar(path, files, mode='w'):
    with tarfile.open(path, mode) as t:
        for k,v in files.items():
            v = v if isinstance(v,bytes) else v.encode()
            m = tarfile.TarInfo(k); m.size = len(v); t.addfile(m, io.BytesIO(v))
    return path
def pool(path, **kw): return open_images(path, labelled=None, **kw)
def is_gray(s): return (s.images[...,0]==s.images[...,1]).all() and (s.images[...,0]==s.images[...,2]).all()
def follows(s, band, channel=0):
    "Correlation of a channel of the images with a band of flux"
    return np.corrcoef(np.asarray(s.images[...,channel],float).ravel(), np.arcsinh(FLUX[:len(s),band]).ravel())[0,1]
CSV = 'file,label\n'+''.join(f'g{i:03}.{{e}},{"abc"[y]}\n' for i,y in enumerate(Y))

# ---------------------------------------------------------------- which extensions of a FITS file are bands

ONES,INTS = np.ones((S,S),'f4'),np.full((S,S),7,'i4')
VAR = np.abs(FLUX[:,1])*.01+4e-4
ONE_BAND = {
    'LSST': lambda i: hdus(('IMAGE',FLUX[i,1]), ('MASK',INTS), ('VARIANCE',VAR[i])),
    'HST': lambda i: hdus(('SCI',FLUX[i,1]), ('WHT',ONES*1200), ('CTX',INTS)),
    'HST flt': lambda i: hdus(('SCI',FLUX[i,1]), ('ERR',VAR[i]), ('DQ',INTS.astype('i2'))),
    'JWST': lambda i: hdus(('SCI',FLUX[i,1]), ('ERR',VAR[i]), ('CON',INTS[None]), ('WHT',ONES), ('VAR_POISSON',VAR[i]), ('VAR_RNOISE',VAR[i]), ('VAR_FLAT',VAR[i])),
    'primary with mask': lambda i: hdus(('MASK',INTS), ('VAR',VAR[i]), primary=FLUX[i,1]),
    'unnamed mask': lambda i: hdus((None,INTS), primary=FLUX[i,1]),
    'unnamed bytes': lambda i: hdus((None,INTS.astype('u1')), (None,INTS.astype('u1')), primary=FLUX[i,1]),
    'DES': lambda i: hdus(('SCI',FLUX[i,1]), ('MSK_MASK',INTS), ('WGT',VAR[i])),
    'Euclid': lambda i: hdus(('VIS.SCI',FLUX[i,1]), ('VIS.RMS',VAR[i]), ('VIS.FLG_FLAG',INTS)),
    'Legacy': lambda i: hdus(('image',FLUX[i,1]), ('invvar',VAR[i]), ('psfsize',ONES), ('maskbits',INTS)),
    'DATA and ERROR': lambda i: hdus(('DATA',FLUX[i,1]), ('ERROR',VAR[i]), ('BACKGROUND',ONES), ('SEGM',INTS)),
    'with model': lambda i: hdus(('R',FLUX[i,1]), ('MODEL',FLUX[i,1]), ('RESIDUAL',VAR[i]), ('PSF',ONES[:9,:9].copy()))}

@pytest.mark.parametrize('kind', ONE_BAND)
def test_masks_and_variances_are_no_colors(tmp_path, kind):
    s = pool(folder(tmp_path/'a', {f'g{i:03}.fits':ONE_BAND[kind](i) for i in range(9)}))
    assert len(s)==9 and s.skipped==[] and is_gray(s) and follows(s,1)>.8
    assert s.notes[0].startswith('one band') and s.notes[0].endswith('drawn in gray') and s.notes[1].startswith('no bands, and not used: ')

def units(i):
    b,unit = io.BytesIO(),('nJy','nJy2','1/nJy2')
    h = [fits.PrimaryHDU()]+[fits.ImageHDU(o) for o in (FLUX[i,1],VAR[i],ONES)]
    for o,u in zip(h[1:],unit): o.header['BUNIT'] = u
    fits.HDUList(h).writeto(b)
    return b.getvalue()
def exttype(i, key='EXTTYPE'):
    b = io.BytesIO()
    h = [fits.PrimaryHDU()]+[fits.ImageHDU(o) for o in (FLUX[i,1],VAR[i],ONES)]
    for o,u in zip(h[1:],('IMAGE','VARIANCE','WEIGHT')): o.header[key] = u
    fits.HDUList(h).writeto(b)
    return b.getvalue()

@pytest.mark.parametrize('make', [units, exttype, lambda i: exttype(i,'DES_EXT'), lambda i: exttype(i,'HDUNAME')], ids=['BUNIT','EXTTYPE','DES_EXT','HDUNAME'])
def test_units_and_types_say_what_is_no_band(tmp_path, make):
    s = pool(folder(tmp_path/'a', {f'g{i}.fits':make(i) for i in range(4)}))
    assert is_gray(s) and s.notes[1]=='no bands, and not used: extensions 2, 3'

THREE = {
    'extensions': lambda x: hdus(*zip('GRZ',x)), 'with variances': lambda x: hdus(*zip('GRZ',x), *((f'{b}_VAR',o**2) for b,o in zip('GRZ',x))),
    'SCI_x and a mask': lambda x: hdus(*((f'SCI_{b}',o) for b,o in zip('GRZ',x)), ('MASK',INTS)),
    'red first': lambda x: hdus(*zip('ZRG',x[::-1])), 'R G B': lambda x: hdus(('RED',x[2]),('GREEN',x[1]),('BLUE',x[0])),
    'cube and maskbits': lambda x: hdus(('maskbits',INTS), primary=x), 'cube and invvar': lambda x: hdus(('invvar',x**2), primary=x),
    'cube with BANDS': lambda x: one(x, BANDS='grz'), 'unnamed': lambda x: hdus(*((None,o) for o in x))}

@pytest.mark.parametrize('kind', THREE)
def test_three_bands_among_what_goes_with_them(tmp_path, kind):
    s = pool(folder(tmp_path/'a', {f'g{i:03}.fits':THREE[kind](FLUX[i]) for i in range(9)}))
    want = pool(folder(tmp_path/'b', {f'g{i:03}.fits':one(FLUX[i]) for i in range(9)}))
    assert (s.images==want.images).all() and s.notes[0].endswith('become blue, green, red')

@pytest.mark.parametrize('bands,make', [
    ('grz', lambda x: hdus(*zip('ZRG',x[::-1]))), ('g,r,z', lambda x: hdus(*((f'SCI_{b}',o) for b,o in zip('grz',x)))), ('grz', lambda x: one(x[::-1], BANDS='zrg')),
    (('VIS','NIR_Y','NIR_H'), lambda x: hdus(('NIR_H',x[2]),('NIR_J',x[1]),('NIR_Y',x[1]),('VIS',x[0]))), ('VIS, NIR_Y, NIR_H', lambda x: hdus(*zip(('VIS','NIR_Y','NIR_H'),x))),
    ('F606W,F814W,F160W', lambda x: hdus(*zip(('F160W','F814W','F606W'),x[::-1]))), ((2,1,0), lambda x: one(x[::-1])), ('2,1,0', lambda x: one(x[::-1])),
    ('grz', lambda x: one(x, BAND0='g', BAND1='r', BAND2='z')), ('riz', lambda x: hdus(*zip('ugrizy',[x[0],x[0],*x,x[0]])))])
def test_bands_by_name_or_number(tmp_path, bands, make):
    s = pool(folder(tmp_path/'a', {f'obj{i}.fits':make(FLUX[i]) for i in range(8)}), bands=bands)
    want = pool(folder(tmp_path/'b', {f'obj{i}.fits':one(FLUX[i]) for i in range(8)}))
    assert (s.images==want.images).all()

def by_filter(x, *names):
    b = io.BytesIO()
    h = [fits.PrimaryHDU()]+[fits.ImageHDU(o, name='SCI') for o in x]
    for o,k in zip(h[1:],names): o.header['FILTER'] = k
    fits.HDUList(h).writeto(b)
    return b.getvalue()
def test_filters_in_headers(tmp_path):
    want = pool(folder(tmp_path/'b', {f'{i}.fits':one(FLUX[i]) for i in range(8)}))
    for k,names in enumerate((('HSC-Z','HSC-R2','HSC-G'), ('z.00000','r.00000','g.00000'), ('z DECam SDSS c0004','r DECam SDSS c0002','g DECam SDSS c0001'))):
        s = pool(folder(tmp_path/f'a{k}', {f'{i}.fits':by_filter(FLUX[i][::-1],*names) for i in range(8)}), bands='grz')
        assert (s.images==want.images).all(), names

@pytest.mark.parametrize('make,kw,match', [
    (lambda x: one(x[:2]), {}, r'holds two bands \(planes 0, 1\), expected one or three: pass bands=\(0,0,1\)'),
    (lambda x: hdus(('G',x[0]),('R',x[1])), {}, r'two bands \(G, R\)'), (lambda x: hdus(('MASK',INTS)), {}, 'holds no image: MASK'),
    (lambda x: one(x), dict(bands=(0,1,5)), r'holds 3 image planes .*got bands=\(0, 1, 5\)'), (lambda x: hdus(*zip('GRZ',x)), dict(bands='ugr'), 'holds no band u: its bands are G, R, Z'),
    (lambda x: one(x), dict(bands='gr'), '`bands` must be three names'), (lambda x: one(x), dict(bands=(0,1)), 'three numbers of planes'), (lambda x: one(x), dict(bands='ugriz'), 'must be three'),
    (lambda x: one(np.zeros((40,S,S),'f4')), {}, 'holds 40 planes, a cube of spectra rather than bands'), (lambda x: one(np.stack([x,x])), {}, 'holds an array of 2×3×16×16, expected one image'),
    (lambda x: one(x), dict(value_range=(0,9)), '`value_range` is for images other than FITS'), (lambda x: one(np.full((3,S,S),np.nan,'f4')), {}, 'hold no finite pixels')])
def test_fits_that_cannot_be_read_as_they_are(tmp_path, make, kw, match):
    d = folder(tmp_path/'a', {f'g{i}.fits':make(FLUX[i]) for i in range(5)})
    with pytest.raises(ValueError, match=match) as e: pool(d, **kw)
    one_sentence(e)

def test_two_bands_and_more_than_three(tmp_path):
    two = folder(tmp_path/'a', {f'g{i}.fits':hdus(('G',FLUX[i,0]),('R',FLUX[i,1])) for i in range(5)})
    s = pool(two, bands=(0,0,1))
    assert (s.images[...,2]==s.images[...,1]).all() and not is_gray(s) and s.notes==['G, G, R become blue, green, red']
    assert pool(two, bands=1).notes[0].startswith('one band (R), drawn in gray')
    five = folder(tmp_path/'b', {f'g{i}.fits':one(np.concatenate([FLUX[i],FLUX[i][:2]])) for i in range(5)})
    assert pool(five).notes==['planes 0, 1, 2 become blue, green, red; of 5 bands, planes 3, 4 are not used (`bands` picks others)']

@pytest.mark.parametrize('make,match', [(lambda i: hdus((None,FLUX[i,1]),(None,ONES),(None,ONES*300)), 'extension 2 holds one value only, as masks and weights do'),
    (lambda i: hdus((None,FLUX[i,1]),(None,VAR[i]),(None,(VAR[i]>.02).astype('f4'))), 'extension 3 holds whole numbers only'), (lambda i: one(np.stack([FLUX[i,0],VAR[i],VAR[i]>.02]).astype('f4')), 'plane 2 holds whole numbers only')])
def test_planes_that_look_like_masks(tmp_path, make, match):
    with pytest.raises(ValueError, match=match) as e: pool(folder(tmp_path/'a', {f'g{i}.fits':make(i) for i in range(6)}))
    one_sentence(e)
    assert is_gray(pool(tmp_path/'a', bands=0))

@pytest.mark.parametrize('bands', ['VIS',('VIS',),'vis'])
def test_a_band_of_three_letters(tmp_path, bands):
    s = pool(folder(tmp_path/'a', {f'gal{i:02}.fits':hdus(('VIS',FLUX[i,2]),('NIR_H',FLUX[i,1])) for i in range(N)}), bands=bands)
    assert (s.images==pool(folder(tmp_path/'b', {f'gal{i:02}.fits':one(FLUX[i,2]) for i in range(N)})).images).all() and s.notes[0].startswith('one band (VIS), drawn in gray')

def test_names_and_filters_that_differ(tmp_path):
    s = pool(folder(tmp_path/'a', {f'{i:02}.fits':hdus((f'NGC{i}',FLUX[i,1])) for i in range(N)}))  # EXTNAME is the object
    assert len(s)==N and s.notes==['one band, drawn in gray']
    s = pool(folder(tmp_path/'b', {f'{i}.fits':one(FLUX[i,1], FILTER='r' if i else 'g') for i in range(10)}))
    assert s.skipped==[('0.fits','holds the band g where other images of the survey hold r; give `bands` as numbers to use any')] and s.notes==['one band (r), drawn in gray']
    assert len(pool(tmp_path/'b', bands=0))==10
    s = pool(folder(tmp_path/'c', {f'{i}.fits':one(FLUX[i,1], FILTER='griz'[i%4]) for i in range(8)}))
    assert len(s)==8 and s.notes[1]=='the images are of different bands (g, i, r, z), drawn alike'

def test_images_of_a_survey_mean_the_same(tmp_path):
    files = {f'g{i:03}.fits':hdus(('SCI',FLUX[i%N,1]),('ERR',VAR[i%N])) for i in range(300)}
    files['g000.fits'] = hdus(('ERR',VAR[0]),('SCI',FLUX[0,1]))          # another order
    files['g007.fits'] = hdus(('ERR',VAR[0]))                            # no image
    files['g009.fits'] = hdus(('SCI',FLUX[0][:2]))                       # two bands
    s = pool(folder(tmp_path/'a', files))
    assert s.skipped==[('g007.fits','lacks the extension SCI, which other images of the survey have'), ('g009.fits','has 2 bands, other images of the survey have 1')]
    assert len(s)==298 and (s.images[0]==s.images[s.ids.index('g024.fits')]).all()

# ---------------------------------------------------------------- shapes and suffixes of FITS files

def packed(x, kind):
    b = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(x, compression_type=kind, **(dict(quantize_level=0) if kind[0]=='G' else {}))]).writeto(b)
    return b.getvalue()
def scaled(x, **kw):
    b,h = io.BytesIO(),fits.PrimaryHDU(x.copy())
    h.scale('int16', **(kw or dict(bscale=.002, bzero=20)))
    h.writeto(b)
    return b.getvalue()

SHAPES = {'C×H×W': lambda x: x, '1×C×H×W': lambda x: x[None], 'H×W×C': lambda x: x.transpose(1,2,0), 'C×1×H×W': lambda x: x[:,None], 'big-endian': lambda x: x.astype('>f4'), 'float64': lambda x: x.astype('f8')}
@pytest.mark.parametrize('kind', SHAPES)
def test_shapes_of_three_bands(tmp_path, kind):
    s = pool(folder(tmp_path/'a', {f'{i}.fits':one(SHAPES[kind](FLUX[i])) for i in range(6)}))
    assert (s.images==pool(folder(tmp_path/'b', {f'{i}.fits':one(FLUX[i]) for i in range(6)})).images).all()

GRAY = {'H×W': lambda x: one(x), '1×H×W': lambda x: one(x[None]), '1×1×H×W': lambda x: one(x[None,None]), 'H×W×1': lambda x: one(x[...,None]), 'second HDU': lambda x: hdus((None,x)),
        'int16': lambda x: one((x*500).astype('i2')), 'uint16': lambda x: one((x*500+9000).astype('u2')), 'scaled': scaled, 'RICE': lambda x: packed(x,'RICE_1'), 'GZIP': lambda x: packed(x,'GZIP_2')}
@pytest.mark.parametrize('kind', GRAY)
def test_shapes_and_types_of_one_band(tmp_path, kind):
    s = pool(folder(tmp_path/'a', {f'{i:02}.fits':GRAY[kind](FLUX[i,1]) for i in range(N)}))
    assert len(s)==N and is_gray(s) and s.images.shape==(N,S,S,3) and follows(s,1)>.8 and s.notes==['one band, drawn in gray']

def test_blank_is_missing(tmp_path):
    def blank(x, n):
        h,b = fits.PrimaryHDU((x*300).astype('i2')),io.BytesIO()
        h.data[:n] = -32768
        h.header['BLANK'] = -32768
        h.writeto(b)
        return b.getvalue()
    s = pool(folder(tmp_path/'a', {f'{i:03}.fits':blank(FLUX[i%N,1], 1 if i else 9) for i in range(100)}))
    assert s.skipped==[('000.fits','has no data in 56% of its pixels, more than 25%')] and s.images[0][0].max()<80

SUFFIXES = {'.fits':bytes, '.fit':bytes, '.FTS':bytes, '.fits.gz':gzip.compress, '.fit.gz':gzip.compress, '.fits.bz2':bz2.compress, '.fts.bz2':bz2.compress, '.fits.xz':lzma.compress, '.FITS.GZ':gzip.compress,
            '.ftz':gzip.compress, '.fits.fz':lambda b: packed(fits.getdata(io.BytesIO(b)),'GZIP_1')}
@pytest.mark.parametrize('ext', SUFFIXES)
@pytest.mark.parametrize('where', ['folder','zip'])
def test_suffixes(tmp_path, ext, where):
    files = {f'g{i:03}{ext}':SUFFIXES[ext](one(FLUX[i])) for i in range(6)}|{'labels.csv':'file,label\n'+''.join(f'g{i:03}{ext if ext==".ftz" else ""},{"ab"[i%2]}\n' for i in range(6))}
    s = open_images(folder(tmp_path/'a', files) if where=='folder' else to_zip(tmp_path/'a.zip', files))
    assert (s.images==pool(folder(tmp_path/'b', {f'{i}.fits':one(FLUX[i]) for i in range(6)})).images).all() and s.labels.tolist()==[0,1]*3 and s.skipped==[]

NOT_FITS = {'is a web page': b'<!DOCTYPE html>\n<html><body>503 Service unavailable', 'is an XML text': b'<?xml version="1.0"?><VOTABLE>error</VOTABLE>', 'is a JSON text': b'{"error": "no such object"}',
            'is empty': b'', 'is a picture': png(PIX[0]), 'is not a readable FITS image': b'nothing', 'is a pointer of Git LFS': b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n', 'is cut short':gzip.compress(one(FLUX[0]))[:-40],
            'is compressed with compress': b'\x1f\x9d\x90'}
@pytest.mark.parametrize('why', NOT_FITS)
def test_files_that_are_no_fits(tmp_path, why):
    with pytest.raises(ValueError, match=f'none of the FITS files can be used; the first, g0.fits, {why}') as e: pool(folder(tmp_path/'a', {f'g{i}.fits':NOT_FITS[why] for i in range(5)}))
    one_sentence(e)
    s = pool(folder(tmp_path/'b', {f'g{i:03}.fits':one(FLUX[i%N]) if i!=3 else NOT_FITS[why] for i in range(30)}))
    (name,said), = s.skipped
    assert name=='g003.fits' and said.startswith(why) and len(s)==29

@pytest.mark.parametrize('why,data', [('is a web page, not an image',b'<html>503'), ('is a JSON text, not an image',b'{"detail": "limit"}'), ('is empty',b''), ('does not decode as an image',b'nothing'), ('is a FITS file, not an image',one(FLUX[0])), ('is cut short',png(PIX[0])[:-30])])
def test_files_that_are_no_picture(tmp_path, why, data):
    s = pool(folder(tmp_path/'a', {f'g{i:03}.png':png(PIX[i%N]) if i!=3 else data for i in range(30)}))
    assert s.skipped==[('g003.png',why)]
    with pytest.raises(ValueError, match=f'none of the 5 images can be used; the first, g0.png, {why}') as e: pool(folder(tmp_path/'b', {f'g{i}.png':data for i in range(5)}))
    one_sentence(e)

# ---------------------------------------------------------------- a file for each band

BANDS = [('{i}_{b}.fits','gri'), ('gal{i}-{B}.fits','gri'), ('gal{i}.{b}.fits','gri'), ('gal{i}{b}.fits','gri'), ('{i}-cutout-HSC-{B}-9813-pdr3_wide.fits','gri'), ('frame-{b}-001737-5-{i:04}.fits.bz2','gri'),
         ('rings.v3.skycell.1234.{i:03}.stk.{b}.unconv.fits','gri'), ('legacysurvey-{i:04}m002-image-{b}.fits.fz','grz'), ('DES{i:04}_{b}.fits','gri'), ('{b}/gal{i}.fits','gri'), ('{b}/gal{i}_{b}.fits','gri'), ('HSC-{B}/{i}-cutout-HSC-{B}-9813.fits','gri'), ('KiDS_DR4.0_{i}_-0.5_{b}_sci.fits','gri'), ('{i}-w_{b}.fits','w1,w2,w3'), ('band_{b}/gal{i}.fits','gri'), ('gal{i}/{b}.fits','gri'),
         ('cut/{b}-band/gal{i}.fits','gri'), ('gal{i}_{b}band.fits','grz'), ('EUC_MER_BGSUB-MOSAIC-{b}_TILE{i}.fits',('VIS','NIR-Y','NIR-H')), ('EUC_MER_{b}_TILE{i}-8D4B0C_2024.fits','VIS,NIR_Y,NIR_H'), ('EUC_MER_{b}_TILE{i}-8D4B0C_20241018T143054.58Z_00.00.fits','VIS,NIR_Y,NIR_H'),
         ('gal{i}_{b}_drz.fits','f606w,f814w,f160w'), ('hst_{b}_gal{i}_sci.fits','F435W,F606W,F814W'), ('g_r_i_{i}_{b}.fits','gri'), ('r{i}_{b}.fits','gri'), ('{b}_r_{i}.fits','gri'), ('ic{i} {b}.fits','gri'), ('z_{b}_{i}.fits','grz'),
         ('sdss_dr17_{b}_{i}.fits','ugr'), ('gal{i}_{b}.fits',('g','r','i')), ('gal{i}_{b}.fits','g,r,i')]
@pytest.mark.parametrize('name,bands', BANDS)
def test_names_of_bands(tmp_path, name, bands):
    each = list(bands) if isinstance(bands,tuple) else bands.split(',') if ',' in bands else list(bands)
    write = {'.bz2':bz2.compress, '.fz':lambda b: packed(fits.getdata(io.BytesIO(b)),'GZIP_1')}.get(name[name.rfind('.'):], bytes)
    files = {name.format(i=i,b=b,B=b.upper()):write(one(FLUX[i,j])) for i in range(12) for j,b in enumerate(each)}
    s = pool(folder(tmp_path/'a', files), bands=bands)
    want = pool(folder(tmp_path/'b', {f'{i:02}.fits':one(FLUX[i]) for i in range(12)}))
    order = np.argsort([name.format(i=i,b='',B='') for i in range(12)])
    assert len(s)==12 and s.skipped==[] and (np.sort(s.images.sum((1,2,3)))==np.sort(want.images.sum((1,2,3)))).all() and s.images.shape==want.images.shape
    assert s.notes[0].endswith('each from a separate file, become blue, green, red')

def test_names_of_objects_join_a_table(tmp_path):
    csv = 'file,label\n'+''.join(f'gal{i},{"ab"[i%2]}\n' for i in range(8))
    for k,name in enumerate(('gal{i}_{b}.fits','{b}/gal{i}.fits','gal{i}/{b}.fits')):
        files = {name.format(i=i,b=b):one(FLUX[i,j]) for i in range(8) for j,b in enumerate('gri')}|{'labels.csv':csv}
        s = open_images(folder(tmp_path/str(k), files), bands='gri')
        assert s.ids==[f'gal{i}.fits' for i in range(8)] and s.labels.tolist()==[0,1]*4, name

def test_bands_that_lack_and_files_that_go_with_them(tmp_path):
    files = {f'legacysurvey-{i:04}m002-{k}-{b}.fits':one(FLUX[i,j]) for i in range(8) for k in ('image','invvar','model') for j,b in enumerate('grz')}
    del files['legacysurvey-0003m002-image-r.fits']
    s = pool(folder(tmp_path/'a', files|{'legacysurvey-0000m002-image-y.fits':one(FLUX[0,0])}), bands='grz')
    assert len(s)==7 and ('legacysurvey-0003m002-image','lacks the band r') in s.skipped and ('legacysurvey-0000m002-image-y.fits','is of none of the bands g, r, z') in s.skipped
    assert sum('invvar' in why or 'model' in why for _,why in s.skipped)==3  # counted: 24 of each, and the one whose image is not there

@pytest.mark.parametrize('name,bands', [('gal{i}_{b}.fits','grz'), ('{b}/gal{i}.fits','ri'), ('gal{i}_{b}_drz.fits',('f606w','f814w'))])
def test_a_file_for_each_band_that_nobody_mentions(tmp_path, name, bands):
    d = folder(tmp_path/'a', {name.format(i=i,b=b):one(FLUX[i,j]) for i in range(6) for j,b in enumerate(bands)})
    with pytest.raises(ValueError, match=f"holds a file for each of the bands {', '.join(bands)} of the same 6 objects: pass") as e: pool(d)
    one_sentence(e)
    assert len(pool(d, pattern=name.format(i='*',b=bands[0])))==6

@pytest.mark.parametrize('names,match', [(['a{i}.fits'], "no object with a file for each band of 'grz': the first file is a0.fits, expected names such as a0_g.fits; and the first file holds no band g"),
                                         (['a{i}_g.fits','b{i}_r.fits','c{i}_z.fits'], "no object with a file for each band of 'grz'")])
def test_no_object_has_all_bands(tmp_path, names, match):
    d = folder(tmp_path/'a', {n.format(i=i):one(FLUX[i,0]) for n in names for i in range(4)})
    with pytest.raises(ValueError, match=match) as e: pool(d, bands='grz')
    one_sentence(e)

# ---------------------------------------------------------------- through the functions that users call

def shard(p): to_tar(p/'a.tar', {f'{i:06}.{e}':v for i in range(N) for e,v in dict(jpg=enc(PIX[i],'.jpg'), cls=str(Y[i])).items()}); return p/'a.tar'
def in_parquet(p): pytest.importorskip('pyarrow.parquet').write_table(rows(), p/'a.parquet'); return p/'a.parquet'
INPUTS = {'WebDataset': (shard,{},N), 'Parquet': (in_parquet,{},N), 'masks': (lambda p: folder(p/'a',{f'g{i:03}.fits':ONE_BAND['LSST'](i) for i in range(N)}|{'labels.csv':CSV.format(e='fits')}),{},N),
          'a file for each band': (lambda p: folder(p/'a',{f'g{i:03}_{b}.fits':one(FLUX[i,j]) for i in range(N) for j,b in enumerate('gri')}|{'labels.csv':CSV.format(e='fits')}),dict(bands='gri'),N),
          'two kinds': (lambda p: folder(p/'a',FITS|JPGS|{'labels.csv':CSV.format(e='jpg')}),dict(pattern='*.jpg'),N), 'floats': (lambda p: folder(p/'a',{f'g{i:03}.tif':enc(o.astype('f4')*9-1,'.tif') for i,o in enumerate(PIX)}|{'labels.csv':CSV.format(e='tif')}),dict(value_range=(-1,2294)),N)}
@pytest.mark.parametrize('kind', INPUTS)
def test_get_survey_and_ingest_agree(tmp_path, kind):
    make,kw,n = INPUTS[kind]
    p = make(tmp_path)
    a,b = get_survey(p, **kw),get_survey(ingest(p, tmp_path/'b.h5', crop=None, size=None, **kw))
    assert len(a)==n and (a.images==b.images).all() and (a.labels==b.labels).all() and (a.labels>=0).all() and a.classes==b.classes and a.notes==b.notes and a.skipped==b.skipped and a.ids==b.ids

# ---------------------------------------------------------------- what is left over

FITS,JPGS = {f'g{i:03}.fits':one(FLUX[i]) for i in range(N)},{f'g{i:03}.jpg':enc(PIX[i],'.jpg') for i in range(N)}
def catalog(n=4):
    b = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column('ra','D',array=np.arange(n)*1.)])]).writeto(b)
    return b.getvalue()
LEFT = {'a preview': (FITS, {'preview.png':png(PIX[0])}, f'is a picture beside {N} FITS images'), 'two pictures': (FITS, {'a/1.jpg':enc(PIX[0],'.jpg'),'2.png':png(PIX[0])}, f'is a picture beside {N} FITS images'),
        'a plot': (FITS, {'plot.pdf':b'%PDF-1.4'}, 'is not an image'), 'a README': (JPGS, {'README':'read me','README.md':'too','license.txt':'free'}, 'is not an image'), 'a catalogue in FITS': (JPGS, {'catalog.fits':catalog()}, f'is a FITS file beside {N} pictures'),
        'a catalogue among FITS': (FITS, {'catalog.fits':catalog()}, 'is a FITS file without an image'), 'FITS among pictures': (JPGS, {'a.fits':FITS['g000.fits'],'b.fits':FITS['g000.fits']}, f'is a FITS file beside {N} pictures'),
        'one FITS and three': ({k:JPGS[k] for k in list(JPGS)[:3]}, {'a.fits':FITS['g000.fits']}, 'is a FITS file beside 3 pictures'), 'catalogues': ({k:JPGS[k] for k in list(JPGS)[:3]}, {'a.fits':catalog(),'b.fits':catalog()}, 'is a FITS file without an image'),
        'one picture and one catalogue': ({'a.jpg':enc(PIX[0],'.jpg')}, {'cat.fits':catalog()}, 'is a FITS file without an image'), 'an archive': (JPGS, {'more.zip':b'PK\5\6'+bytes(18),'x.tar.gz':b'','y.rar':b''}, 'is an archive; unpack it'),
        'a table of another name': (JPGS, {'votes.csv':'a,b\n1,2\n','cat.vot':'<x/>'}, 'is a table that is not read; pass it as `labels`'), 'weights': (FITS, {k.replace('.fits','_wht.fits'):v for k,v in list(FITS.items())[:3]}, "goes with another file: its name says 'wht'"),
        'masks of pictures': (JPGS, {f'masks/g{i:03}.png':png(PIX[i]) for i in range(5)}, "goes with another file: its name says 'masks'"), 'a preview among JPEGs': (JPGS, {'montage.png':png(PIX[0])}, "is the only .png among 24 .jpg; pattern='*' takes it too"),
        'scripts': (JPGS, {'get.py':'x','fetch.log':'x','model.pth':b'x'}, 'is not an image'), 'arrays': (JPGS, {'all.npy':b'x','all.h5':b'x'}, 'holds an array; open it by itself')}

@pytest.mark.parametrize('kind', LEFT)
@pytest.mark.parametrize('where', ['folder','zip','tar'])
def test_what_is_left_over_is_said(tmp_path, kind, where):
    images,others,why = LEFT[kind]
    if kind=='masks of pictures': images = {f'images/{k}':v for k,v in images.items()}
    hidden = {'.DS_Store':'x','__MACOSX/._g000.jpg':'x','Thumbs.db':'x','a/desktop.ini':'x','.ipynb_checkpoints/x.png':'x'}
    files = images|others|hidden
    s = pool(dict(folder=folder, zip=to_zip, tar=to_tar)[where](tmp_path/('a' if where=='folder' else f'a.{where}'), files))
    assert s.ids==sorted(images) and sorted(s.skipped)==sorted((o,why) for o in others)

@pytest.mark.parametrize('ext', ['.heic','.CR2','.nef','.dng','.avif','.svg'])
def test_images_that_are_not_read(tmp_path, ext):
    s = pool(folder(tmp_path/'a', JPGS|{f'x{ext}':b'1'}))
    (name,why), = s.skipped
    assert name==f'x{ext}' and why.startswith('is not an image that is read: .bmp, ')
    with pytest.raises(ValueError, match=f'holds no images .*; it holds 1 {ext.lower()} files') as e: pool(folder(tmp_path/'b', {f'x{ext}':b'1'}))
    one_sentence(e)

@pytest.mark.parametrize('n,m', [(N,N), (N,6), (6,N), (2,2), (1,1)])
def test_two_kinds(tmp_path, n, m):
    d = folder(tmp_path/'a', dict(list(FITS.items())[:n])|dict(list(JPGS.items())[:m]))
    with pytest.raises(ValueError, match=f"holds {n} FITS images? and {m} pictures?: choose one kind with `pattern`, such as pattern='\\*.fits' or pattern='\\*.jpg'") as e: pool(d)
    one_sentence(e)
    a,b = pool(d, pattern='*.fits'),pool(d, pattern='*.JPG')
    assert (len(a),len(b))==(n,m) and sum(1 for o,why in a.skipped if why.startswith("does not fit pattern='*.fits'"))==(m if m<=20 else 1)

@pytest.mark.parametrize('pattern,n', [('train/*',12), ('*.jpg',24), ('test/g02?.jpg',4), ('G00*',10)])
def test_pattern(tmp_path, pattern, n):
    files = {f'{"test" if i>11 else "train"}/g{i:03}.jpg':enc(PIX[i],'.jpg') for i in range(N)}
    s = pool(folder(tmp_path/'a', files), pattern=pattern)
    assert len(s)==n and (n==N or s.skipped)
    with pytest.raises(ValueError, match="no image fits pattern='\\*.tif'"): pool(tmp_path/'a', pattern='*.tif')

def test_many_leftovers_are_counted(tmp_path):
    s = pool(folder(tmp_path/'a', FITS|{f'docs/{i:02}.pdf':b'x' for i in range(30)}))
    assert s.skipped==[('30 files *.pdf','is not an image (the first is docs/00.pdf)')]

LAYOUTS = {  # files with their table or tables -> names and labels
    'top': ({f'g{i}.jpg':i for i in range(6)}, {'labels.csv':[f'g{i}.jpg' for i in range(6)]}, 'g'), 'one folder down': ({f'x/g{i}.jpg':i for i in range(6)}, {'x/labels.csv':[f'g{i}.jpg' for i in range(6)]}, 'g'),
    'siblings': ({f'images/g{i}.jpg':i for i in range(6)}, {'labels/labels.csv':[f'g{i}.jpg' for i in range(6)]}, 'images/g'), 'train and test': ({f'{"test" if i>2 else "train"}/g{i}.jpg':i for i in range(6)}, {'train/labels.csv':['g0.jpg','g1.jpg','g2.jpg'],'test/labels.csv':['g3.jpg','g4.jpg','g5.jpg']}, None),
    'images below': ({f'x/img/g{i}.jpg':i for i in range(6)}, {'x/labels.csv':[f'img/g{i}.jpg' for i in range(6)]}, 'img/g'), 'from the top': ({f'img/g{i}.jpg':i for i in range(6)}, {'labels.csv':[f'img/g{i}.jpg' for i in range(6)]}, 'img/g')}
@pytest.mark.parametrize('kind', LAYOUTS)
@pytest.mark.parametrize('where', ['folder','zip'])
@pytest.mark.parametrize('table', ['labels.csv','metadata.csv','LABELS.CSV'])
def test_where_tables_lie(tmp_path, kind, where, table):
    images,tables,stem = LAYOUTS[kind]
    files = {k:enc(PIX[i],'.jpg') for k,i in images.items()}
    files |= {k.replace('labels.csv',table):'file_name,label\n'+''.join(f'{o},{"ab"[int(o[-5])%2]}\n' for o in v) for k,v in tables.items()}
    s = open_images(folder(tmp_path/'a', files) if where=='folder' else to_zip(tmp_path/'a.zip', files))
    assert len(s)==6 and s.skipped==[] and {o:int(y) for o,y in zip(s.ids,s.labels)}=={(f'{stem}{i}.jpg' if stem else k):i%2 for k,i in images.items()}

def test_images_outside_of_the_tables_folder_stay(tmp_path):
    files = {f'{"b" if i>2 else "a"}/g{i}.jpg':enc(PIX[i],'.jpg') for i in range(6)}|{'a/labels.csv':'file,label\ng0.jpg,x\ng1.jpg,y\ng2.jpg,x'}
    s = open_images(folder(tmp_path/'a', files))
    assert sorted(zip(s.ids,s.labels.tolist()))==[('a/g0.jpg',0),('a/g1.jpg',1),('a/g2.jpg',0)]+[(f'b/g{i}.jpg',-1) for i in (3,4,5)]

def test_a_table_at_the_top_governs(tmp_path):
    files = {f'a/g{i}.jpg':enc(PIX[i],'.jpg') for i in range(4)}|{'labels.csv':'file,label\na/g0.jpg,x\na/g1.jpg,y','a/labels.csv':'file,label\ng2.jpg,x\ng3.jpg,y','metadata.csv':'file,ra\n'}
    s = open_images(folder(tmp_path/'a', files))
    assert s.labels.tolist()==[0,1,-1,-1] and s.skipped==[('metadata.csv','is a table beside labels.csv, which is used'),('a/labels.csv','is a table below labels.csv, which is used')]

def test_a_table_of_another_name(tmp_path):
    d = folder(tmp_path/'a', JPGS|{'votes.csv':CSV.format(e='jpg')})
    with pytest.raises(ValueError, match='votes.csv') as e: open_images(d)
    one_sentence(e)
    s = open_images(d, labels=d/'votes.csv')
    assert s.labels.tolist()==Y.tolist() and s.skipped==[]

# ---------------------------------------------------------------- brightness of pictures

def eight(s): return np.stack([s.images[i] for i in range(len(s))])
DEEP = {'16 bits png': (16,'.png'), '12 bits png': (12,'.png'), '10 bits tif': (10,'.tif'), '14 bits tif': (14,'.tif'), '8 bits in 16': (8,'.png'), '16 bits ppm': (16,'.ppm')}
@pytest.mark.parametrize('kind', DEEP)
def test_bits(tmp_path, kind):
    bits,ext = DEEP[kind]
    top = 2**bits-1
    x = np.rint(PIX/255*top).astype(np.uint16); x[3,0,0,0] = top
    s = pool(folder(tmp_path/'a', {f'{i:02}{ext}':enc(o,ext) for i,o in enumerate(x)}))
    assert (s.images==np.rint(x/top*255)).all()
    hold = '' if bits==16 else f' that hold {bits} bits'
    assert s.notes==[f'16-bit pixels{hold}: 0 to {top} become black to white']

def test_12_bits_in_jpeg_2000(tmp_path):
    x = (PIX[...,0].astype(np.uint16)*16); x[0,0,0] = 4095
    s = pool(folder(tmp_path/'a', {f'{i:02}.jp2':png(o,'JPEG2000') for i,o in enumerate(x)}))
    assert abs(s.images[...,0].astype(int)-x/4095*255).max()<=1 and s.notes==['16-bit pixels that hold 12 bits: 0 to 4095 become black to white']

def test_the_largest_value_of_all_images_counts(tmp_path):
    x = np.full((300,8,8),900,np.uint16); x[77,0,0] = 4000    # the sample of 64 misses it
    s = pool(folder(tmp_path/'a', {f'{i:03}.png':enc(o) for i,o in enumerate(x)}))
    assert s.notes==['16-bit pixels that hold 12 bits: 0 to 4095 become black to white'] and s.images[0,0,0,0]==round(900*255/4095)

FLOATS = {'0 to 1': (1/255,'32-bit floats: 0 to 1 become black to white'), '0 to 255': (1,'32-bit floats: 0 to 255 become black to white')}
@pytest.mark.parametrize('kind', FLOATS)
@pytest.mark.parametrize('gray', [True,False])
def test_floats(tmp_path, kind, gray):
    scale,note = FLOATS[kind]
    x = PIX.copy(); x[0,0,0] = 255
    x = x[...,:1].repeat(3,3) if gray else x
    s = pool(folder(tmp_path/'a', {f'{i:02}.tif':enc((o[...,0] if gray else o).astype('f4')*np.float32(scale),'.tif') for i,o in enumerate(x)}))
    assert (s.images==x).all() and s.notes==[note]

@pytest.mark.parametrize('make,kw,match', [
    (lambda o: enc(o.astype('f4')*9-1,'.tif'), {}, r'pixel values from -?\d.* are flux rather than brightness: save the images as FITS, or say with value_range=\(black, white\)'),
    (lambda o: enc(o[...,0].astype('i4')*1000,'.tif'), {}, 'are flux rather than brightness'), (lambda o: png(o), dict(value_range=(5,5)), '`value_range` must be two numbers'),
    (lambda o: png(o), dict(value_range='x'), '`value_range` must be two numbers'), (lambda o: png(o), dict(bands='grz'), "`bands` is for FITS images; .* holds other images, got bands='grz'"),
    (lambda o: png(o,'TIFF',save_all=True,append_images=[Image.fromarray(o)]*2), {}, 'holds 3 pages, expected one image')])
def test_pictures_that_cannot_be_read_as_they_are(tmp_path, make, kw, match):
    d = folder(tmp_path/'a', {f'{i}.{"tif" if make(PIX[0])[:2]==b"II" else "png"}':make(PIX[i]) for i in range(5)})
    with pytest.raises(ValueError, match=match) as e: pool(d, **kw)
    one_sentence(e)

def test_value_range(tmp_path):
    d = folder(tmp_path/'a', {f'{i:02}.tif':enc(o.astype('f4')*9-1,'.tif') for i,o in enumerate(PIX)})
    s = pool(d, value_range=(-1,9*255-1))
    assert abs(s.images.astype(int)-PIX).max()<=1 and s.notes==['pixel values -1 to 2294 become black to white']
    s = pool(folder(tmp_path/'b', {f'{i:02}.png':png(o) for i,o in enumerate(PIX)}), value_range=(0,127.5))
    assert (s.images==np.minimum(PIX.astype(int)*2,255)).all()

def with_alpha(a, v): return np.dstack([a, np.full(a.shape[:2],v,np.uint8)])
PICTURES = {'jpg': (lambda o: enc(o,'.jpg'),'.jpg',[]), 'jfif': (lambda o: enc(o,'.jpg'),'.jfif',[]), 'JPG': (lambda o: enc(o,'.jpg'),'.JPG',[]), 'png': (png,'.png',[]), 'bmp': (lambda o: png(o,'BMP'),'.bmp',[]), 'webp': (lambda o: png(o,'WEBP',lossless=True),'.webp',[]), 'ppm': (lambda o: png(o,'PPM'),'.ppm',[]),
            'RGBA': (lambda o: png(with_alpha(o,255)),'.png',[]), 'RGBA hides': (lambda o: png(with_alpha(o,128)),'.png',['transparency is not used: what it hides is seen']), 'tiff': (lambda o: png(o,'TIFF'),'.tiff',[]), 'tiff lzw': (lambda o: png(o,'TIFF',compression='tiff_lzw'),'.tif',[]), 'jp2': (lambda o: png(o,'JPEG2000'),'.jp2',[])}
@pytest.mark.parametrize('kind', PICTURES)
def test_pictures(tmp_path, kind):
    make,ext,notes = PICTURES[kind]
    s = pool(folder(tmp_path/'a', {f'{i:02}{ext}':make(o) for i,o in enumerate(PIX)}))
    assert s.notes==notes and len(s)==N and abs(s.images.astype(int)-PIX).mean()<(6 if ext.lower() in ('.jpg','.jfif') else .01)

GRAYS = {'L': (lambda o: png(o),'.png'), 'LA': (lambda o: png(o,mode='LA'),'.png'), 'pgm': (lambda o: png(o,'PPM'),'.pgm'), 'gif': (lambda o: png(o,'GIF'),'.gif'), 'P': (lambda o: png(o,mode='P'),'.png'), 'tiff': (lambda o: png(o,'TIFF'),'.tif'), 'gray JPEG 2000': (lambda o: png(o,'JPEG2000'),'.jp2')}
@pytest.mark.parametrize('kind', GRAYS)
def test_gray_pictures(tmp_path, kind):
    make,ext = GRAYS[kind]
    s = pool(folder(tmp_path/'a', {f'{i:02}{ext}':make(o) for i,o in enumerate(PIX[...,0])}))
    assert (s.images==PIX[...,:1]).all() and s.notes==[]

def test_frames(tmp_path):
    gif = lambda o: png(o,'GIF',save_all=True,append_images=[Image.fromarray(255-o)])
    s = pool(folder(tmp_path/'a', {f'{i}.gif':gif(o) for i,o in enumerate(PIX[:4,...,0])}))
    assert s.notes==['of images with several frames the first is used'] and (s.images==PIX[:4,...,:1]).all()

# ---------------------------------------------------------------- archives and names

ARCHIVES = {'zip': lambda p,f: to_zip(p/'a.zip',f), 'ZIP': lambda p,f: to_zip(p/'a.ZIP',f), 'tar': lambda p,f: to_tar(p/'a.tar',f), 'tgz': lambda p,f: to_tar(p/'a.tgz',f,'w:gz'), 'tar.bz2': lambda p,f: to_tar(p/'a.tar.bz2',f,'w:bz2'), 'tar.xz': lambda p,f: to_tar(p/'a.tar.xz',f,'w:xz'),
            'a tar named zip': lambda p,f: to_tar(p/'a.zip',f), 'a gzipped tar named zip': lambda p,f: to_tar(p/'a.zip',f,'w:gz'), 'a zip named tar': lambda p,f: to_zip(p/'a.tar',f), 'a gzipped tar named tar': lambda p,f: to_tar(p/'a.tar',f,'w:gz'),
            'no suffix': lambda p,f: to_zip(p/'download',f), 'a zip in a folder': lambda p,f: to_zip(p/'images.zip',{k:v for k,v in f.items() if k!='labels.csv'}).parent if not (p/'labels.csv').write_text(f['labels.csv'])==0 else p,
            'spaces': lambda p,f: to_zip(p/'my galaxies (1), new; ok.zip',f)}
@pytest.mark.parametrize('kind', ARCHIVES)
def test_archives(tmp_path, kind):
    p = find_path(ARCHIVES[kind](tmp_path, JPGS|{'labels.csv':CSV.format(e='jpg')}))
    s = open_images(p)
    assert s.ids==sorted(JPGS) and s.labels.tolist()==Y.tolist() and s.skipped==[]

def encrypted(path):
    to_zip(path, JPGS)
    b = bytearray(path.read_bytes())
    i = b.index(b'PK\1\2'); b[i+8] |= 1; b[6] |= 1
    path.write_bytes(b)
BAD = {'a.7z': (b'7z\xbc\xaf\x27\x1c'+bytes(40),'is a 7z archive, which is not read; unpack it'), 'a.rar': (b'Rar!\x1a\x07'+bytes(40),'is a rar archive, which is not read; unpack it'), 'a.tar.zst': (b'\x28\xb5\x2f\xfd'+bytes(40),'is compressed with zstd, which is not read; unpack it'),
       'b.zip': (b'<!DOCTYPE html><html>Log in','is a web page, expected a .zip or a .tar'), 'c.zip': (b'{"message":"Not found"}','is a JSON text, expected a .zip or a .tar'), 'd.zip': (b'','is empty'), 'e.zip': (b'PK\5\6'+bytes(18),'holds no images .*; it is empty'),
       'f.tar': (b'','is empty'), 'g.zip': (b'Rar!\x1a\x07'+bytes(40),'is a rar archive'), 'h.tar.gz': (gzip.compress(b'x'*2000),'is not a readable .tar'), 'i.zip': (None,'is encrypted; unpack it and pass the folder'), 'j.tar': (b'version https://git-lfs.github.com/spec/v1','is a pointer of Git LFS')}
@pytest.mark.parametrize('name', BAD)
def test_archives_that_are_not_read(tmp_path, name):
    data,match = BAD[name]
    if data is None: encrypted(tmp_path/name)
    else: (tmp_path/name).write_bytes(data)
    with pytest.raises(ValueError, match=match) as e: open_images(find_path(tmp_path/name), labelled=None)
    one_sentence(e)

def test_an_archive_in_an_archive(tmp_path):
    with pytest.raises(ValueError, match='holds no images .*of which inner.zip is an archive; unpack it'): pool(to_zip(tmp_path/'a.zip', {'inner.zip':to_zip(tmp_path/'b.zip',JPGS).read_bytes()}))

def raw_zip(path, files):
    "A .zip whose names are the bytes given, not marked as UTF-8"
    fake = {k:f'n{i:03}'.ljust(len(k),'x') for i,k in enumerate(files)}
    to_zip(path, {fake[k]:v for k,v in files.items()})
    b = path.read_bytes()
    for k,v in fake.items(): b = b.replace(v.encode(), k)
    path.write_bytes(b)
    return path
NAMES = {'backslashes': ([rb'sp\g%d.jpg'%i for i in range(4)], [f'sp/g{i}.jpg' for i in range(4)]), 'UTF-8': ([f'galáxia_{i}.jpg'.encode() for i in range(4)], [f'galáxia_{i}.jpg' for i in range(4)]), 'cp437': ([f'é_naïve{i}.jpg'.encode('cp437') for i in range(4)], [f'é_naïve{i}.jpg' for i in range(4)]),
         'Shift-JIS': ([f'銀河表{i}.jpg'.encode('cp932') for i in range(4)], [f'銀河表{i}.jpg' for i in range(4)]), 'katakana': ([f'ソース{i}.jpg'.encode('cp932') for i in range(4)], [f'ソース{i}.jpg' for i in range(4)])}
@pytest.mark.parametrize('kind', NAMES)
def test_names_in_zips(tmp_path, kind):
    raw,names = NAMES[kind]
    assert pool(raw_zip(tmp_path/'a.zip', {k:enc(PIX[i],'.jpg') for i,k in enumerate(raw)})).ids==sorted(names)

@pytest.mark.parametrize('name', ['g {i} new.jpg', 'é{i}.jpg', unicodedata.normalize('NFD','é{i}.jpg'), '銀河{i}.jpg', 'a,b;c {i}.jpg', "it's {i}.JPG", 'x.y.z.{i}.jpeg', '$p_{i}.jpg', r'win\g{i}.jpg'])
@pytest.mark.parametrize('where', ['folder','zip','tar'])
def test_names_join(tmp_path, name, where):
    files = {name.format(i=i):enc(PIX[i],'.jpg') for i in range(4)}|{'labels.csv':'file,label\n'+''.join(f'"{name.format(i=i)}",{"ab"[i%2]}\n' for i in range(4))}
    if where=='tar' and '\\' in name: pytest.skip("tars are not made on Windows")
    s = open_images(dict(folder=folder, zip=to_zip, tar=to_tar)[where](tmp_path/('a' if where=='folder' else f'a.{where}'), files))
    assert s.labels.tolist()==[0,1,0,1] and s.ids==[name.format(i=i).replace('\\','/') for i in range(4)]

def test_links(tmp_path):
    d = folder(tmp_path/'a', JPGS)
    os.symlink(d, tmp_path/'link')
    assert len(pool(tmp_path/'link'))==N and pool(tmp_path/'link').name=='link'
    e = tmp_path/'e'; e.mkdir()
    for k in JPGS: os.symlink(d/k, e/k)
    os.symlink(d, e/'more')
    s = pool(e)
    assert (s.images==pool(d).images).all() and s.skipped==[('more','is a link to a folder, which is not followed')]

def test_zip64(tmp_path):
    with zipfile.ZipFile(tmp_path/'a.zip','w') as z:
        for k,v in JPGS.items():
            with z.open(k,'w',force_zip64=True) as f: f.write(v)
    assert len(pool(tmp_path/'a.zip'))==N

@pytest.mark.parametrize('name', ['a.txt','a.fits','a.jpg','a.docx'])
def test_paths_that_are_no_survey(tmp_path, name):
    to_zip(tmp_path/name, {'x':b'1'}) if name=='a.docx' else (tmp_path/name).write_bytes(b'x')
    with pytest.raises(ValueError, match='is not a survey: expected an .h5, .npz or .npy, a .zip or .tar, a .parquet of images, or a folder of images, got '+name[1:]) as e: find_path(tmp_path/name)
    one_sentence(e)

def test_a_folder_named_like_a_survey(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder(tmp_path/'decals', JPGS)
    assert len(pool(find_path('./decals')))==N and len(pool(find_path(Path('decals'))))==N

# ---------------------------------------------------------------- WebDataset and Parquet

SIDE = {'cls': lambda i: {'cls':str(Y[i])}, 'txt': lambda i: {'txt':'abc'[Y[i]]}, 'json': lambda i: {'json':json.dumps(dict(label='abc'[Y[i]], ra=i*1., box=[1,2]))}, 'cls and json': lambda i: {'cls':str(Y[i]),'json':json.dumps(dict(ra=i*1., dec=2.))},
        'cls and caption': lambda i: {'cls':'abc'[Y[i]],'txt':f'a galaxy with the number {i}'}, 'json, a number': lambda i: {'json':str(Y[i])}}
@pytest.mark.parametrize('kind', SIDE)
@pytest.mark.parametrize('where', ['tar','folder','zip'])
def test_labels_beside_the_images(tmp_path, kind, where):
    files = {f'{i:06}.{k}':v for i in range(N) for k,v in {'jpg':enc(PIX[i],'.jpg'),**SIDE[kind](i)}.items()}
    s = open_images(dict(folder=folder, zip=to_zip, tar=to_tar)[where](tmp_path/('a' if where=='folder' else f'a.{where}'), files))
    assert s.ids==[f'{i:06}.jpg' for i in range(N)] and s.labels.tolist()==Y.tolist() and s.skipped==[] and s.classes==(list('abc') if "abc"[0] in s.classes else ['0','1','2'])
    assert any(o.endswith('beside each image make a table') for o in s.notes)
    if 'ra' in str(SIDE[kind](3)): assert float(s.table.ra[3])==3

@pytest.mark.parametrize('same', [True,False])
def test_shards(tmp_path, same):
    d = tmp_path/'wds'; d.mkdir()
    for k in range(3):
        to_tar(d/f'shard-{k:06}.tar', {f'{i if not same else i%8:06}.{e}':v for i in range(8*k,8*k+8) for e,v in dict(jpg=enc(PIX[i],'.jpg'), cls=str(Y[i])).items()})
    (d/'README.md').write_text('x')
    s = open_images(d)
    assert s.ids==[f'shard-{i//8:06}/{i%8:06}.jpg' if same else f'{i:06}.jpg' for i in range(N)] and s.labels.tolist()==Y.tolist()
    assert s.skipped==[('README.md','is not an image')] and s.notes[0]=='3 archives are read together: shard-000000.tar, shard-000001.tar, shard-000002.tar'

def test_what_lies_beside_shards_and_parquet(tmp_path):
    pq = pytest.importorskip('pyarrow.parquet')
    d,e = tmp_path/'d',tmp_path/'e'
    for o in (d,e): o.mkdir()
    shard(d)
    (d/'preview.png').write_bytes(png(PIX[0])); (d/'catalog.fits').write_bytes(catalog()); pd.DataFrame(dict(ra=[1.])).to_parquet(d/'cat.parquet')
    s = pool(d)
    assert len(s)==N and dict(s.skipped)=={'preview.png':"is the only .png among 24 .jpg; pattern='*' takes it too", 'catalog.fits':f'is a FITS file beside {N+1} pictures', 'cat.parquet':'is a table that is not read; pass it as `labels`'}
    pq.write_table(rows(label=False), e/'a.parquet')
    folder(e, {'preview.png':png(PIX[0]),'labels.csv':'file,label\n'+''.join(f'{i:03}.png,{"abc"[Y[i]]}\n' for i in range(N)),'README.md':'x'})
    s = open_images(e)
    assert s.labels.tolist()==Y.tolist() and dict(s.skipped)=={'preview.png':'is an image beside Parquet files of images','README.md':'is not an image'}

def test_keys_that_name_no_class(tmp_path):
    s = pool(to_tar(tmp_path/'a.tar', {f'{i:06}.{e}':v for i in range(N) for e,v in dict(jpg=enc(PIX[i],'.jpg'), txt=f'galaxy {i}').items()}))
    assert len(s)==N and s.classes==[] and s.table.text[3]=='galaxy 3'
    s = pool(to_tar(tmp_path/'b.tar', {f'{i:06}.{e}':v for i in range(N) for e,v in {'jpg':enc(PIX[i],'.jpg'),'seg.png':png(PIX[i]),'npy':b'x'}.items()}))
    assert len(s)==N and sorted(o for o,_ in s.skipped)==['24 files *.npy','24 files *.png']

def rows(sl=slice(None), path=True, label=True, named=True):
    import pyarrow as pa
    i = range(*sl.indices(N))
    t = pa.table(dict(image=[dict(bytes=png(PIX[k]), path=f'{k:03}.png' if path else None) for k in i], **(dict(label=[int(Y[k]) for k in i]) if label else {}), ra=[k*1. for k in i], emb=[[1.,2.] for k in i]))
    f = dict(image=dict(_type='Image'), **(dict(label=dict(_type='ClassLabel',names=['disk','ring','bar'])) if named and label else {}))
    return t.replace_schema_metadata({'huggingface':json.dumps(dict(info=dict(features=f)))})

@pytest.mark.parametrize('where', ['file','folder','shards','data folder'])
@pytest.mark.parametrize('kw', [{}, dict(path=False), dict(named=False)], ids=['paths','no paths','no names'])
def test_parquet_of_images(tmp_path, where, kw):
    pq = pytest.importorskip('pyarrow.parquet')
    d = tmp_path/'d'/'data' if where=='data folder' else tmp_path/'d'; d.mkdir(parents=True)
    parts = [slice(None)] if where in ('file','folder') else [slice(0,9),slice(9,N)]
    for k,o in enumerate(parts): pq.write_table(rows(o,**kw), d/f'train-{k:05}-of-{len(parts):05}.parquet', row_group_size=5)
    if where!='file': (tmp_path/'d'/'README.md').write_text('x')
    s = open_images(find_path(d/'train-00000-of-00001.parquet' if where=='file' else tmp_path/'d'))
    assert (s.images==PIX).all() and s.labels.tolist()==Y.tolist() and s.ids[3]==('003.png' if kw.get('path',True) else '000003.png') and float(s.table.ra[5])==5
    if kw.get('named',True): assert [s.classes[y] for y in s.labels[:3]]==['disk','ring','bar']
    assert 'not used: emb, which holds several values per image' in s.notes
    assert s.skipped==([] if where=='file' else [('README.md','is not an image')])

def test_json_beside_the_images_that_is_not_all_used(tmp_path):
    s = pool(to_tar(tmp_path/'a.tar', {f'{i:02}.{e}':v for i in range(9) for e,v in dict(jpg=enc(PIX[i],'.jpg'), json='{bad' if i==3 else json.dumps(dict(label='ab'[i%2],box=[1,2],at=dict(x=1)))).items()}))
    assert s.skipped==[('03.json','is not readable JSON')] and s.labels.tolist()==[0,1,0,-1,0,1,0,1,0] and 'not used: at, box, which hold several values per image' in s.notes

def test_parquet_of_bytes_and_of_nothing(tmp_path):
    pq,pa = pytest.importorskip('pyarrow.parquet'),pytest.importorskip('pyarrow')
    pq.write_table(pa.table(dict(jpg=[enc(o,'.jpg') for o in PIX], kind=['abc'[y] for y in Y])), tmp_path/'a.parquet')
    s = open_images(tmp_path/'a.parquet', label_column='kind')
    assert [s.classes[y] for y in s.labels]==['abc'[y] for y in Y]
    pd.DataFrame(dict(ra=[1.,2.])).to_parquet(tmp_path/'b.parquet')
    with pytest.raises(ValueError, match='holds no column of images: its columns are ra') as e: open_images(tmp_path/'b.parquet')
    one_sentence(e)
    (tmp_path/'c.parquet').write_bytes(b'PAR1xx')
    with pytest.raises(ValueError, match='is not a readable Parquet file') as e: open_images(tmp_path/'c.parquet')
    one_sentence(e)
    pq.write_table(pa.table(dict(image=[dict(bytes=None, path='/x/1.png')]*2), schema=pa.schema([('image',pa.struct([('bytes',pa.binary()),('path',pa.string())]))])), tmp_path/'d.parquet')
    with pytest.raises(ValueError, match='which holds only its name'): pool(tmp_path/'d.parquet')

@pytest.mark.parametrize('meta', ['metadata.csv','metadata.jsonl','metadata.parquet'])
def test_image_folder_of_hugging_face(tmp_path, meta):
    if meta.endswith('parquet'): pytest.importorskip('pyarrow')
    d = folder(tmp_path/'a', {f'{"test" if i>11 else "train"}/g{i:03}.jpg':enc(PIX[i],'.jpg') for i in range(N)})
    for part,r in (('train',range(12)),('test',range(12,N))):
        df = pd.DataFrame(dict(file_name=[f'g{i:03}.jpg' for i in r], label=['abc'[Y[i]] for i in r]))
        if meta.endswith('csv'): df.to_csv(d/part/meta, index=False)
        elif meta.endswith('jsonl'): df.to_json(d/part/meta, orient='records', lines=True)
        else: df.to_parquet(d/part/meta)
    s = open_images(d)
    assert {o:s.classes[y] for o,y in zip(s.ids,s.labels)}=={f'{"test" if i>11 else "train"}/g{i:03}.jpg':'abc'[Y[i]] for i in range(N)} and s.skipped==[]

def test_pyarrow_is_named_where_it_lacks(tmp_path, monkeypatch):
    import builtins
    real = builtins.__import__
    monkeypatch.setattr(builtins, '__import__', lambda name,*a,**k: real(name,*a,**k) if not name.startswith('pyarrow') else (_ for _ in ()).throw(ImportError(name)))
    (tmp_path/'a.parquet').write_bytes(b'PAR1')
    with pytest.raises(ImportError, match='pip install pyarrow'): open_images(tmp_path/'a.parquet')

# ---------------------------------------------------------------- what a fresh eye tried

def galfit(i):
    b = io.BytesIO()
    h = [fits.PrimaryHDU()]+[fits.ImageHDU(o) for o in (FLUX[i,1],FLUX[i,1]*.9,FLUX[i,1]*.1)]
    for o,k in zip(h[1:],('g.fits[1:16,1:16]','model','residual map')): o.header['OBJECT'] = k
    fits.HDUList(h).writeto(b)
    return b.getvalue()
def test_model_and_residual_of_galfit_are_no_colors(tmp_path):
    s = pool(folder(tmp_path/'a', {f'imgblock{i}.fits':galfit(i) for i in range(6)}))
    assert is_gray(s) and follows(s,1)>.8 and s.notes[1]=='no bands, and not used: extensions 2, 3'

PRODUCTS = {'CANDELS': ('gds_f160w_{i}_{k}.fits', 'drz', ['wht']), 'DECam': ('c4d_{i:04}_{k}_r_v1.fits', 'ooi', ['oow','ood']), 'Spitzer': ('SPITZER_I1_{i}_E1_{k}.fits', 'maic', ['munc','mcov']),
            'unWISE': ('unwise-{i:04}-w1-{k}-m.fits', 'img', ['invvar','std']), 'JWST': ('jw{i}_f200w_{k}.fits', 'i2d', ['segm']), 'Pan-STARRS': ('skycell.{i}.stk.r.{k}.fits', 'unconv', ['unconv.wt','unconv.mask']),
            'Euclid': ('EUC_MER_{k}_TILE{i}.fits', 'BGSUB-MOSAIC-VIS', ['MOSAIC-VIS-RMS','MOSAIC-VIS-FLAG']), 'own': ('a{i}_{k}.fits', 'final', ['weight'])}
@pytest.mark.parametrize('kind', PRODUCTS)
def test_products_of_services_beside_the_images(tmp_path, kind):
    name,image,rest = PRODUCTS[kind]
    d = folder(tmp_path/'a', {name.format(i=i,k=k):one(FLUX[i,1]) for i in range(4) for k in (image,*rest)})
    s = pool(d)
    assert list(s.ids)==sorted(name.format(i=i,k=image) for i in range(4)) and len(s.skipped)==4*len(rest) and all('its name says' in o[1] for o in s.skipped)

@pytest.mark.parametrize('fmt,bands', [('fpC-001737-{b}5-{i:04}.fit','gri'), ('{i:03}p0-{b}-int-3.fits',['w1','w2','w3']), ('EUC_{b}_{i}.fits',['VIS','NIR_Y','NIR_H']), ('{i}/{b}.fits',['fuv','nuv','r'])])
def test_bands_that_services_name_otherwise(tmp_path, fmt, bands):
    d = folder(tmp_path/'a', {fmt.format(b=b,i=i):one(FLUX[i,j]) for i in range(4) for j,b in enumerate(bands)})
    with pytest.raises(ValueError, match='holds a file for each of the bands .* of the same 4 objects'): pool(d)
    s = pool(d, bands=bands)
    assert len(s)==4 and s.skipped==[] and follows(s,2)>.8 and (s.images==pool(folder(tmp_path/'b', {f'{i}.fits':one(FLUX[i]) for i in range(4)})).images).all()

@pytest.mark.parametrize('shape', [(S,S,5),(S,S,2),(5,S,S),(S,5,S)], ids=str)
def test_where_the_planes_of_a_cube_are(tmp_path, shape):
    x = np.stack([FLUX[:4,i%3] for i in range(min(shape))],1)
    d = folder(tmp_path/'a', {f'{i}.fits':one(np.moveaxis(x[i],0,shape.index(min(shape)))) for i in range(4)})
    if shape==(S,5,S):
        with pytest.raises(ValueError, match='holds an array of 16×5×16, expected the bands first or last'): pool(d, bands=1)
    else: assert is_gray(s:=pool(d, bands=1)) and follows(s,1)>.8

@pytest.mark.parametrize('bands', ['gri','GIMG,RIMG,IIMG'])
def test_images_beside_a_cube_of_spectra(tmp_path, bands):
    def manga(x): return hdus(('FLUX',np.repeat(x[:1],20,0)), *((b+k,o) for k in ('IMG','PSF') for b,o in zip('GRI',x)))
    d = folder(tmp_path/'a', {f'manga-{i}-LOGCUBE.fits':manga(FLUX[i]) for i in range(4)})
    assert follows(s:=pool(d, bands=bands),2)>.8 and s.notes[0].startswith('GIMG, RIMG, IIMG become blue, green, red')
    with pytest.raises(ValueError, match='a cube of spectra .* or names among GIMG, RIMG, IIMG$'): pool(d)
    with pytest.raises(ValueError, match='holds no band z: its bands are planes 0 to 19$'): pool(d, bands='grz')

def fz(x):
    b = io.BytesIO(); fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(x)]).writeto(b)
    return b.getvalue()[:-2880]+b'\xff'*2880
BROKEN = {'is a damaged FITS file, which cannot be read': lambda x: one(x).replace(b'BITPIX  =                  -32', b'BITPIX  =                   xx'),
          'is cut short': lambda x: one(x)[:2000], 'holds no image in the extension where the other files have one': lambda x: catalog()}
@pytest.mark.parametrize('why', BROKEN)
def test_broken_fits_in_own_words(tmp_path, why):
    d = folder(tmp_path/'a', {f'g{i}.fits':one(FLUX[i,1]) for i in range(8)} | {'g3.fits':BROKEN[why](FLUX[3,1])})
    assert pool(d).skipped==[('g3.fits',why)]
def test_damaged_tiles_in_own_words(tmp_path):
    with pytest.raises(ValueError, match='the first, g0.fits.fz, is a damaged FITS file, which cannot be read$'): pool(folder(tmp_path/'a', {f'g{i}.fits.fz':fz(FLUX[i,1]) for i in range(4)}))

def test_archives_and_parquet_in_own_words(tmp_path):
    z = to_zip(tmp_path/'a.zip', {f'{i}.png':png(PIX[i]) for i in range(9)})
    b = z.read_bytes(); (tmp_path/'b.zip').write_bytes(b[:len(b)//2])
    p = b.find(png(PIX[2])[100:160]); z.write_bytes(b[:p]+bytes(30)+b[p+30:])
    assert pool(z).skipped==[('2.png','cannot be unpacked: it is damaged')]
    (tmp_path/'c.tar.gz').write_bytes(gzip.compress(os.urandom(3000))[:2000]); (tmp_path/'d.parquet').write_bytes(b'<html>'); (tmp_path/'e.parquet').write_bytes(b'PAR1xx')
    for name,why in {'b.zip':'is not a readable .zip file; it may be cut short, damaged or not an archive', 'c.tar.gz':'is not a readable .tar file; it may be cut short, damaged or not an archive',
                     'd.parquet':'is not a readable Parquet file: it is a web page', 'e.parquet':'is not a readable Parquet file: it is cut short, or damaged'}.items():
        with pytest.raises(ValueError, match=f'{name} {why}$'): pool(tmp_path/name)

def test_a_float_picture_without_data(tmp_path):
    x = PIX[...,1].astype('f4')/255; x[3] = np.nan
    s = pool(folder(tmp_path/'a', {f'{i}.tif':png(x[i],'TIFF') for i in range(8)}))
    assert s.skipped==[('3.tif','has no data in 100% of its pixels, more than 25%')]
@pytest.mark.parametrize('r', [(0,100),(50,255),(50,300)])
def test_value_range_of_bytes(tmp_path, r):
    s = pool(folder(tmp_path/'a', {f'{i}.png':png(PIX[i]) for i in range(4)}), value_range=r)
    assert (np.asarray(s.images)==np.clip(np.rint((PIX[:4].astype('f4')-r[0])/(r[1]-r[0])*255),0,255)).all()

def test_pictures_called_after_bands(tmp_path):
    s = pool(folder(tmp_path/'a', {f'g{i}_{b}.png':png(PIX[i]) for i in range(4) for b in 'gri'}))
    assert len(s)==12 and s.notes==['the file names suggest the bands g, r, i of the same 4 objects: each file is used as a separate image']
def test_tables_are_named_where_they_are_not_read(tmp_path):
    with pytest.raises(ValueError, match='or cat.fits as `labels`'): open_images(folder(tmp_path/'a', {f'g{i}.fits':one(FLUX[i]) for i in range(4)}|{'cat.fits':catalog()}))
    with pytest.raises(ValueError, match='holds 1 .csv files$'): pool(folder(tmp_path/'b', {'labels.csv':CSV.format(e='png')}))

def test_one_hot_labels_in_json(tmp_path):
    f = {f'{i:02}.{e}':v for i in range(6) for e,v in (('png',png(PIX[i])),('json',json.dumps(dict(label=[int(k==i%3) for k in range(3)]))))}
    assert open_images(to_tar(tmp_path/'a.tar', f)).labels.tolist()==[0,1,2]*2
def test_missing_shards_and_class_names_without_labels(tmp_path):
    pa = pytest.importorskip('pyarrow'); import pyarrow.parquet as pq
    hf = {'huggingface':json.dumps({'info':{'features':{'label':{'_type':'ClassLabel','names':['a','b']}}}})}
    for k in (0,2): pq.write_table(pa.table({'image':pa.array([png(o) for o in PIX[k*4:k*4+4]])}).replace_schema_metadata(hf), tmp_path/f'train-{k:05}-of-00003.parquet')
    s = pool(tmp_path)
    assert len(s)==8 and s.skipped==[('train-00001-of-00003.parquet','is missing: the names of the others count it')] and not any('labels from' in o for o in s.notes)
