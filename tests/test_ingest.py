"Getting images in: what disks, archives, kills and other processes do. Small images, no network, no real data."
import errno, io, os, signal, stat, struct, subprocess, sys, tarfile, zipfile, zlib
import cv2, filelock, h5py, numpy as np, pandas as pd, pytest
from PIL import Image
from galaxy_ssl.survey import archives, catalogue, images, ingest as ingesting, pixels, reading, sources
from galaxy_ssl.data import *

N = 40
rng = np.random.default_rng(0)
IMAGES = rng.integers(0, 256, (N,24,24,3), dtype=np.uint8)

def png(im): return cv2.imencode('.png', im[...,::-1])[1].tobytes()
FILES = {f'{i:02}.png':png(o) for i,o in enumerate(IMAGES)}
CSV = 'file,label\n'+''.join(f'{k},c{i%4}\n' for i,k in enumerate(FILES))
small = dict(crop=None, size=None)

def one_sentence(e): assert '\n' not in str(e.value)
def left(path): return sorted(o.name for o in path.iterdir())
def make_zip(path, files=FILES, csv=CSV):
    with zipfile.ZipFile(path,'w') as z:
        for k,v in files.items(): z.writestr(k,v)
        if csv is not None: z.writestr('labels.csv', csv)
    return path
def make_folder(path, files=FILES, csv=CSV):
    path.mkdir()
    for k,v in files.items(): (path/k).write_bytes(v)
    if csv is not None: (path/'labels.csv').write_text(csv)
    return path
@pytest.fixture
def src(tmp_path):
    (tmp_path/'in').mkdir(); (tmp_path/'out').mkdir()
    return make_zip(tmp_path/'in'/'a.zip')
@pytest.fixture
def dst(tmp_path): return tmp_path/'out'/'a.h5'

def same(dst, images=IMAGES):
    s = get_survey(dst)
    assert s.images.shape==images.shape and (s.images==images).all() and isinstance(s.images, np.memmap)
    return s

# ---------------------------------------------------------------- the disk

def fails_after(monkeypatch, k, err):
    "The k-th block cannot be written"
    add,seen = pixels.Pixels.add,[]
    def broken(self, *args):
        seen.append(1)
        if len(seen)==k: raise err
        return add(self, *args, every=0)
    monkeypatch.setattr(pixels.Pixels, 'add', broken)
    monkeypatch.setattr(sources.ImageSource, 'block', 8)
    init = sources.ImageSource.__init__
    monkeypatch.setattr(sources.ImageSource, '__init__', lambda self,*a,**k: (init(self,*a,**k), setattr(self,'block',8))[0])

def test_disk_full_keeps_and_continues(src, dst, monkeypatch):
    with monkeypatch.context() as m:
        fails_after(m, 4, OSError(errno.ENOSPC, 'No space left on device'))
        with pytest.raises(OSError, match=r'no space left for .*a.h5.part: .* MB are free; 24 images are kept in a.h5.part, make room and call again') as e: ingest(src, dst, **small)
    one_sentence(e)
    assert left(dst.parent)==['a.h5.part','a.h5.part.log']
    starts = []
    blocks = sources.ImageSource.blocks
    monkeypatch.setattr(sources.ImageSource, 'blocks', lambda self,start=0: (starts.append(start), blocks(self,start))[1])
    same(ingest(src, dst, **small))
    assert starts==[24] and left(dst.parent)==['a.h5']

def test_too_little_space_is_said_before_anything_is_done(src, dst, monkeypatch):
    import shutil
    monkeypatch.setattr(shutil, 'disk_usage', lambda p: shutil._ntuple_diskusage(10**6, 10**6, 1000))
    monkeypatch.setattr(sources.ImageSource, 'blocks', None)
    with pytest.raises(OSError, match='no space left for .*: 0 MB are needed and 0 MB are free$'): ingest(src, dst, **small)
    assert left(dst.parent)==[]

def test_disk_full_during_the_copy_decodes_nothing_again(src, dst, monkeypatch):
    calls = []
    def full(path, need):
        calls.append(need)
        if len(calls)==2: raise OSError(errno.ENOSPC, 'No space left on device')
    with monkeypatch.context() as m:
        m.setattr(pixels, '_check_space', full)
        with pytest.raises(OSError, match=r'no space left for .*a.h5.part: .*; 40 images are kept in a.h5.part, make room') as e: ingest(src, dst, **small)
    one_sentence(e)
    assert calls==[2*IMAGES.nbytes, IMAGES.nbytes] and left(dst.parent)==['a.h5.part','a.h5.part.log'] # the pixels and their copy
    monkeypatch.setattr(sources.ImageSource, 'blocks', None)
    same(ingest(src, dst, **small))
    assert left(dst.parent)==['a.h5']

def test_no_room_to_unpack_a_tar(tmp_path, monkeypatch):
    import shutil
    with tarfile.open(tmp_path/'a.tar.gz','w:gz') as t:
        for k,v in FILES.items(): m = tarfile.TarInfo(k); m.size = len(v); t.addfile(m, io.BytesIO(v))
    def full(*args): raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr(shutil, 'copyfileobj', full)
    with pytest.raises(OSError, match=r'no space left for .*a.tar: .* MB are free$') as e: ingest(tmp_path/'a.tar.gz', tmp_path/'b.h5', **small)
    one_sentence(e)
    assert left(tmp_path)==['a.tar.gz']

def test_read_only_folder(src, dst, monkeypatch):
    def refuse(self, *a, **k): raise PermissionError(errno.EACCES, 'Permission denied', str(dst))
    monkeypatch.setattr(filelock.FileLock, 'acquire', refuse)
    with pytest.raises(PermissionError, match='out cannot be written to, choose another place for a.h5') as e: ingest(src, dst, **small)
    one_sentence(e)

def test_interrupt_keeps_what_is_done(src, dst, monkeypatch):
    with monkeypatch.context() as m:
        fails_after(m, 3, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt): ingest(src, dst, **small)
    assert left(dst.parent)==['a.h5.part','a.h5.part.log']
    with pytest.raises(FileNotFoundError): get_survey(dst)       # a part is not a survey
    same(ingest(src, dst, **small))
    assert left(dst.parent)==['a.h5']

def test_an_old_file_stays_until_the_new_one_is_whole(src, dst, monkeypatch):
    old = ingest(src, dst, **small).read_bytes()
    with monkeypatch.context() as m:
        fails_after(m, 3, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt): ingest(src, dst, crop=None, size=12)
    assert dst.read_bytes()==old

# ---------------------------------------------------------------- other processes

SCRIPT = """
import sys, time
from galaxy_ssl.survey import pixels, sources
from galaxy_ssl.data import ingest
init,add = sources.ImageSource.__init__,pixels.Pixels.add
def slow_init(self, *a, **k): init(self, *a, **k); self.block = 4
def slow_add(self, *a): time.sleep(float(sys.argv[3])); add(self, *a, every=0); print(self.n, flush=True)
sources.ImageSource.__init__,pixels.Pixels.add = slow_init,slow_add
ingest(sys.argv[1], sys.argv[2], crop=None, size=None)
print('done', flush=True)
"""
def start(src, dst, pause): return subprocess.Popen([sys.executable,'-c',SCRIPT,src,dst,str(pause)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def test_kill_9_and_continue(src, dst):
    p = start(src, dst, .1)
    for line in p.stdout:
        if line.strip()=='12': break
    p.send_signal(signal.SIGKILL); p.wait()
    assert not dst.exists() and {'a.h5.part','a.h5.part.log'}<=set(left(dst.parent))
    p = start(src, dst, 0)
    out,err = p.communicate(timeout=60)
    assert p.returncode==0, err
    first = int(out.split()[0])
    assert 12<first<=40 and out.split()[-1]=='done' # went on, did not begin anew
    same(dst)
    assert left(dst.parent)==['a.h5']

def test_two_processes_want_the_same(src, dst):
    a = start(src, dst, .4)
    a.stdout.readline()
    b = start(src, dst, 0)
    (_,ea),(ob,eb) = a.communicate(timeout=60),b.communicate(timeout=60)
    assert a.returncode==b.returncode==0, ea+eb
    assert ob.split()==['done'] # one worked, the other found its result
    same(dst)
    assert left(dst.parent)==['a.h5']

def test_two_readers_share_one_map(src, dst):
    ingest(src, dst, **small)
    code = "import sys,hashlib; from galaxy_ssl.data import get_survey; s=get_survey(sys.argv[1]); print(type(s.images).__name__, hashlib.md5(s.images).hexdigest())"
    ps = [subprocess.Popen([sys.executable,'-c',code,dst], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outs = {p.communicate(timeout=60)[0].strip() for p in ps}
    import hashlib
    assert outs=={f'memmap {hashlib.md5(IMAGES).hexdigest()}'}

# ---------------------------------------------------------------- sources that change

def test_another_source_is_not_continued(src, dst, monkeypatch):
    with monkeypatch.context() as m:
        fails_after(m, 3, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt): ingest(src, dst, **small)
    make_zip(src, {k:FILES[j] for k,j in zip(FILES,reversed(FILES))})
    same(ingest(src, dst, **small), IMAGES[::-1])

@pytest.mark.parametrize('what', ['label','image','size'])
def test_what_changed_is_done_again(tmp_path, what):
    d = make_folder(tmp_path/'a')
    out = ingest(d, tmp_path/'a.h5', **small)
    made = out.stat().st_mtime_ns
    assert ingest(d, out, **small).stat().st_mtime_ns==made
    if what=='label': (d/'labels.csv').write_text(CSV.replace('00.png,c0','00.png,c3'))
    if what=='image': (d/'00.png').write_bytes(FILES['01.png'])
    s = get_survey(ingest(d, out, **small|(dict(size=12) if what=='size' else {})))
    assert out.stat().st_mtime_ns!=made
    if what=='label': assert s.labels[0]==3
    if what=='image': assert (s.images[0]==IMAGES[1]).all()

@pytest.mark.parametrize('kind', ['zip','tar','h5'])
def test_archive_that_changes_under_the_reader(tmp_path, monkeypatch, kind):
    p = tmp_path/f'a.{kind}'
    if kind=='zip': make_zip(p)
    if kind=='tar':
        with tarfile.open(p,'w') as t:
            for k,v in FILES.items(): m = tarfile.TarInfo(k); m.size = len(v); t.addfile(m, io.BytesIO(v))
    if kind=='h5':
        with h5py.File(p,'w') as f: f['images'],f['ans'] = IMAGES,np.arange(N)%4
    add = pixels.Pixels.add
    def grows(self, *a):
        with open(p,'ab') as f: f.write(b'x')
        return add(self, *a)
    monkeypatch.setattr(pixels.Pixels, 'add', grows)
    with pytest.raises(ValueError, match='changed while it was read; nothing was kept') as e: ingest(p, tmp_path/'b.h5', **small)
    one_sentence(e)
    assert left(tmp_path)==[p.name]

def test_file_that_changes_under_the_reader(tmp_path, monkeypatch):
    d = make_folder(tmp_path/'a', {**FILES, **{f'x{i:03}.png':FILES['00.png'] for i in range(200)}})
    open_ = reading.open_store
    def then_change(path):
        s = open_(path)
        (d/'05.png').write_bytes(FILES['06.png']); (d/'07.png').unlink()
        return s
    monkeypatch.setattr(reading, 'open_store', then_change)
    s = get_survey(ingest(d, tmp_path/'b.h5', **small))
    assert s.skipped==[('05.png','changed while the folder was read'), ('07.png','cannot be read (No such file or directory)')] and len(s)==N+198

# ---------------------------------------------------------------- archives that mean no good

def forged(w, h):
    "A PNG of 8×8 px that says it has w×h"
    b = png(np.zeros((8,8,3),np.uint8))
    ihdr = b'IHDR'+struct.pack('>II',w,h)+b[24:29]
    return b[:12]+ihdr+struct.pack('>I',zlib.crc32(ihdr))+b[33:]

@pytest.mark.parametrize('w,h', [(9000,9000), (100_000,100_000), (2**31-1,1)])
def test_pixel_bomb_is_not_decoded(tmp_path, monkeypatch, w, h):
    many = {f'y{i:03}.png':FILES['00.png'] for i in range(100)}
    z = make_zip(tmp_path/'a.zip', {**many, 'bomb.png':forged(w,h)}, None)
    decode = images.cv2.imdecode
    monkeypatch.setattr(images.cv2, 'imdecode', lambda b,f: decode(b,f) if len(b)!=len(forged(w,h)) else pytest.fail('was decoded'))
    s = get_survey(ingest(z, tmp_path/'b.h5', **small))
    (name,why), = s.skipped
    assert name=='bomb.png' and 'than the 67,108,864 px that one image may have' in why and len(s)==100

def test_jpeg_bomb():
    b = cv2.imencode('.jpg', IMAGES[0])[1].tobytes()
    i = b.index(b'\xff\xc0')
    with pytest.raises(ValueError, match='has 65000×65000 px'): images.decode_image(b[:i+5]+struct.pack('>HH',65000,65000)+b[i+9:])

@pytest.mark.parametrize('kind', ['zip','tar','tar.gz'])
def test_expanded_size_is_bounded(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(archives, 'MAX_BYTES', 50_000)
    many = {**{f'y{i:03}.png':FILES['00.png'] for i in range(100)}, 'bomb.png':bytes(10**6)}
    p = tmp_path/f'a.{kind}'
    if kind=='zip':
        with zipfile.ZipFile(p,'w',zipfile.ZIP_DEFLATED) as z:
            for k,v in many.items(): z.writestr(k,v)
    else:
        with tarfile.open(p,'w:gz' if kind=='tar.gz' else 'w') as t:
            for k,v in many.items(): m = tarfile.TarInfo(k); m.size = len(v); t.addfile(m, io.BytesIO(v))
    s = get_survey(ingest(p, tmp_path/'b.h5', **small))
    assert s.skipped==[('bomb.png','unpacks to 1 MB, too much for an image')] and len(s)==100

@pytest.mark.parametrize('name', ['../x.png', 'a/../../x.png', '/etc/x.png', 'C:\\x.png'])
@pytest.mark.parametrize('kind', ['zip','tar','tar.gz'])
def test_names_that_climb(tmp_path, name, kind):
    p = tmp_path/f'a.{kind}'
    if kind=='zip': make_zip(p, {**FILES, name:b'x'})
    else:
        with tarfile.open(p,'w:gz' if kind=='tar.gz' else 'w') as t: m = tarfile.TarInfo(name); m.size = 1; t.addfile(m, io.BytesIO(b'x'))
    with pytest.raises(ValueError, match='leads out of the archive; the archive was not read') as e: ingest(p, tmp_path/'b.h5', **small)
    one_sentence(e)
    assert left(tmp_path)==[p.name]

def test_links(tmp_path):
    secret = tmp_path/'secret.png'; secret.write_bytes(FILES['00.png'])
    with tarfile.open(tmp_path/'a.tar','w') as t:
        for k,v in FILES.items(): m = tarfile.TarInfo(k); m.size = len(v); t.addfile(m, io.BytesIO(v))
        for k,kind,to in (('s.png',tarfile.SYMTYPE,str(secret)),('h.png',tarfile.LNKTYPE,'00.png'),('d.png',tarfile.CHRTYPE,'')):
            m = tarfile.TarInfo(k); m.type,m.linkname = kind,to; t.addfile(m)
    with zipfile.ZipFile(tmp_path/'a.zip','w') as z:
        for k,v in FILES.items(): z.writestr(k,v)
        i = zipfile.ZipInfo('s.png'); i.create_system,i.external_attr = 3,(stat.S_IFLNK|0o777)<<16
        z.writestr(i, str(secret))
    link = 'is a link, which an archive may not hold'
    for o,skipped in (('a.tar',[('s.png',link),('h.png',link),('d.png','is not a plain file')]), ('a.zip',[('s.png',link)])):
        s = get_survey(ingest(tmp_path/o, tmp_path/'b.h5', **small))
        assert s.skipped==skipped and (s.images==IMAGES).all()

def test_links_in_a_folder(tmp_path):
    d = make_folder(tmp_path/'a', csv=None)
    other = make_folder(tmp_path/'other', {'far.png':FILES['03.png']}, None)
    os.symlink(other/'far.png', d/'near.png'); os.symlink(d, d/'loop'); os.symlink('gone', d/'broken.png')
    s = get_survey(ingest(d, tmp_path/'b.h5', **small))
    assert len(s)==N+1 and (s.images[s.ids.index('near.png')]==IMAGES[3]).all()
    assert sorted(s.skipped)==[('broken.png','is a link that leads nowhere'), ('loop','is a link to a folder, which is not followed')]

def test_encrypted_archive(tmp_path):
    b = bytearray(make_zip(tmp_path/'a.zip').read_bytes())
    i = b.index(b'PK\x01\x02'); b[i+8] |= 1
    (tmp_path/'a.zip').write_bytes(b)
    with pytest.raises(ValueError, match='a.zip is encrypted; unpack it and pass the folder'): ingest(tmp_path/'a.zip', tmp_path/'b.h5')

# ---------------------------------------------------------------- names and tables

def test_names_that_are_not_utf8(tmp_path):
    d = make_folder(tmp_path/'a', dict(list(FILES.items())[:3]), None)
    try: (d/os.fsdecode(b'gal\xe9.png')).write_bytes(FILES['03.png'])
    except OSError: pytest.skip('this file system has no such names')
    s = get_survey(ingest(d, tmp_path/'b.h5', **small))
    assert len(s)==4 and s.ids[3]==os.fsdecode(b'gal\xe9.png') and (s.images[3]==IMAGES[3]).all()
    str(s.report()).encode('utf-8','surrogateescape')
    z = tmp_path/'a.zip'
    with zipfile.ZipFile(z,'w') as f:
        for k in ('a.png','b.png'): f.writestr(k, FILES['00.png'])
        f.writestr('xx.png', FILES['01.png'])
    z.write_bytes(z.read_bytes().replace(b'xx.png','é.png'.encode()).replace(b'b.png',b'\xe9.png')) # UTF-8 that does not say so, and no UTF-8
    s = get_survey(z, labelled=False)
    assert 'é.png' in s.ids and len(s)==3 and (s.images[s.ids.index('é.png')]==IMAGES[1]).all()
    get_survey(ingest(z, tmp_path/'c.h5', **small))

@pytest.mark.parametrize('where', ['beside','elsewhere'])
def test_labels_with_bom_quotes_missing_and_extra(tmp_path, where):
    csv = '\ufeff"file","label"\r\n"00.png","spiral, ""barred"""\r\n01.png,round\r\ngone.png,round\r\n02.png,\r\n'
    z = make_zip(tmp_path/'a.zip', csv=csv if where=='beside' else None)
    (tmp_path/'l.csv').write_text(csv, encoding='utf-8', newline='')
    s = get_survey(ingest(z, tmp_path/'b.h5', labels=None if where=='beside' else tmp_path/'l.csv', **small))
    assert s.classes==['round','spiral, "barred"'] and s.labels[:4].tolist()==[1,0,-1,-1] and len(s)==N
    assert s.skipped==[('gone.png',f"is in {'labels.csv' if where=='beside' else 'l.csv'} but not among the files")]

def test_label_arguments(src, dst):
    for kw,match in ((dict(labels='nowhere.csv'),'nowhere.csv'), (dict(labels='folders'),'needs a folder for each class'), (dict(sample=41),'must not exceed the 40 images'),
                     (dict(sample=0),'`sample` must be'), (dict(workers=0),'`workers` must be'), (dict(max_bad=-1),'`max_bad` must lie'), (dict(crop=0),'`crop` must be')):
        with pytest.raises((ValueError,FileNotFoundError), match=match) as e: ingest(src, dst, **small|kw)
        one_sentence(e)
    assert left(dst.parent)==[]

def test_votes_become_classes(tmp_path):
    from galaxy_ssl.survey.labels import GZ2_RULE
    cols = [f'{o}_weighted_fraction' for o in dict.fromkeys(o for way in GZ2_RULE for o in way)]
    v = pd.DataFrame(0., index=range(3), columns=cols)
    v.loc[0,[c for c in cols if 'a01' in c or 'a16' in c]] = 1.                # smooth and round
    v.loc[1,[c for c in cols if 'a01' in c]] = 1.; v.loc[1,[c for c in cols if 'a16' in c or 'a17' in c]] = .5 # no agreement
    v.insert(0, 'asset_id', ['00','01','99'])
    z = make_zip(tmp_path/'a.zip', csv=None)
    v.to_csv(tmp_path/'votes.csv', index=False)
    s = get_survey(ingest(z, tmp_path/'b.h5', labels=tmp_path/'votes.csv', **small))
    assert s.labels[:2].tolist()==[1,-1] and s.classes==list(SURVEYS['sdss'].classes) and s.skipped==[('99','is in votes.csv but not among the files')]
    assert get_survey(ingest(z, tmp_path/'b.h5', labels=tmp_path/'votes.csv', threshold=.4, **small)).labels[:2].tolist()==[1,1]

# ---------------------------------------------------------------- pixels

def saved(im, fmt, mode=None, **kw):
    b = io.BytesIO()
    (Image.fromarray(im).convert(mode) if mode else Image.fromarray(im)).save(b, fmt, **kw)
    return b.getvalue()

def test_all_kinds_of_pixels(tmp_path):
    a = IMAGES[0]
    grey = np.asarray(Image.fromarray(a).convert('L'))
    deep = cv2.imencode('.png', a[...,::-1].astype(np.uint16)*257)[1].tobytes()
    kinds = {'16bit.png':deep, 'alpha.png':saved(a,'PNG','RGBA'), 'cmyk.jpg':saved(a,'JPEG','CMYK',quality=100), 'float.tif':saved(grey.astype(np.float32),'TIFF'),
             'grey.png':saved(a,'PNG','L'), 'palette.png':saved(a,'PNG','P'), 'rgb.bmp':saved(a,'BMP')}
    z = make_zip(tmp_path/'a.zip', kinds, None)
    s = get_survey(ingest(z, tmp_path/'b.h5', max_bad=.2, crop=None, size=24))
    (bad,why), = s.skipped
    assert bad=='float.tif' and '32-bit pixels' in why
    im = dict(zip(s.ids,s.images))
    for k in ('16bit.png','alpha.png','rgb.bmp'): assert (im[k]==a).all(), k
    assert abs(im['grey.png'].astype(int)-grey[...,None]).max()<=1
    assert (im['palette.png']==np.asarray(Image.fromarray(a).convert('P').convert('RGB'))).all()
    assert abs(im['cmyk.jpg'].astype(int)-np.asarray(Image.open(io.BytesIO(kinds['cmyk.jpg'])).convert('RGB'))).max()==0

def test_fits_with_nan_and_negative_pixels(tmp_path):
    from astropy.io import fits
    d = tmp_path/'cuts'; d.mkdir()
    r = np.hypot(*np.mgrid[-16:16,-16:16])
    cube = lambda i: np.stack([rng.normal(0,1,r.shape)+50*np.exp(-r/5) for _ in range(3)]).astype(np.float32)
    for i in range(100): fits.writeto(d/f'{i:03}.fits', cube(i))
    dead = cube(0); dead[:,:12] = np.nan
    some = cube(0); some[0,3,3] = np.nan; some[1,5] = -np.inf
    fits.writeto(d/'dead.fits', dead); fits.writeto(d/'some.fits', some)
    s = get_survey(ingest(d, tmp_path/'b.h5', **small))
    assert s.skipped==[('dead.fits','has no data in 38% of its pixels, more than 25%')] and len(s)==101
    im = s.images[s.ids.index('some.fits')]
    sky = s.images[:50,:6].mean()
    assert abs(im[3,3].astype(float)-sky).max()<60 and im[14:18,14:18].min()>90 and (s.images[:50,:6]>0).mean()>.9 # negative sky is dark, not cut off

@pytest.mark.parametrize('n,keep', [(60,.5)])
def test_cut_short_tar(tmp_path, n, keep):
    with tarfile.open(tmp_path/'a.tar.gz','w:gz') as t:
        for k,v in FILES.items(): m = tarfile.TarInfo(k); m.size = len(v); t.addfile(m, io.BytesIO(v))
    b = (tmp_path/'a.tar.gz').read_bytes()
    (tmp_path/'a.tar.gz').write_bytes(b[:len(b)//2])
    with pytest.raises(ValueError, match='a.tar.gz is not a readable .tar .* it may be cut short'): ingest(tmp_path/'a.tar.gz', tmp_path/'b.h5')
    assert left(tmp_path)==['a.tar.gz']

# ---------------------------------------------------------------- duplicates

def test_duplicates_never_straddle(tmp_path):
    twice = {**FILES, **{f'copy{i:02}.png':FILES[f'{i:02}.png'] for i in range(0,N,2)}}
    csv = CSV+''.join(f'copy{i:02}.png,c{i%4}\n' for i in range(0,N,2))
    s = get_survey(ingest(make_zip(tmp_path/'a.zip', twice, csv), tmp_path/'b.h5', **small))
    assert (s.groups!=np.arange(len(s))).sum()==N//2
    straddle = lambda sp: any(set(s.groups[a])&set(s.groups[b]) for a,b in ((sp[0],sp[1]),(sp[0],sp[2]),(sp[1],sp[2])))
    for seed in range(5):
        assert straddle(make_splits(s.labels, seed))              # without groups they do
        sp = make_splits(s.labels, seed, s.groups)
        assert not straddle(sp) and sorted(np.concatenate(sp))==list(range(len(s)))
    assert (get_survey(tmp_path/'a.zip').groups==s.groups).all()   # the same where nothing was ingested

# ---------------------------------------------------------------- what must not be lost

def test_a_file_from_elsewhere_is_not_replaced(src, dst):
    with h5py.File(dst,'w') as f: f['images'],f['ans'] = IMAGES[:3],np.arange(3)
    before = dst.read_bytes()
    with pytest.raises(FileExistsError, match='a.h5 was not made by `ingest` and is not replaced') as e: ingest(src, dst, **small)
    one_sentence(e)
    assert dst.read_bytes()==before and left(dst.parent)==['a.h5']

@pytest.mark.parametrize('kind', ['tar','tar.gz','zip'])
def test_a_name_that_comes_twice(tmp_path, kind):
    p = tmp_path/f'a.{kind}'
    files_ = [*FILES.items(),('00.png',FILES['01.png'])]
    if kind=='zip':
        with zipfile.ZipFile(p,'w') as z:
            with pytest.warns(UserWarning, match='Duplicate'): 
                for k,v in files_: z.writestr(k,v)
    else:
        with tarfile.open(p,'w:gz' if kind=='tar.gz' else 'w') as t:
            for k,v in files_: m = tarfile.TarInfo(k); m.size = len(v); t.addfile(m, io.BytesIO(v))
    s = get_survey(ingest(p, tmp_path/'b.h5', **small))
    assert len(s)==N and (s.images[s.ids.index('00.png')]==IMAGES[1]).all() and (s.images[s.ids.index('05.png')]==IMAGES[5]).all()

def test_broken_cache_is_made_again(tmp_path, monkeypatch):
    import hashlib
    from dataclasses import replace
    p = tmp_path/'Galaxy10_DECals.h5'
    with h5py.File(p,'w') as f:
        f.create_dataset('images', data=IMAGES, chunks=(7,8,8,1), compression='gzip'); f['ans'] = (np.arange(N)%10).astype(np.uint8)
        for k in ('ra','dec','redshift','pxscale'): f[k] = np.linspace(0,1,N)
    monkeypatch.setitem(catalogue.SURVEYS, 'decals', replace(SURVEYS['decals'], sha256=hashlib.sha256(p.read_bytes()).hexdigest(), bytes=p.stat().st_size))
    s = get_survey('decals', root=tmp_path)
    assert (s.images==IMAGES).all() and isinstance(s.images, np.memmap)
    (tmp_path/'Galaxy10_DECals_full.h5').write_bytes(b'broken')
    assert (get_survey('decals', root=tmp_path).images==IMAGES).all()
    monkeypatch.setattr(ingesting, 'write_pixels', lambda *a, **k: (_ for _ in ()).throw(PermissionError(errno.EACCES,'no')))
    s = get_survey('decals', root=tmp_path, size=12) # nowhere to keep it: in memory
    assert s.images.shape==(N,12,12,3) and not isinstance(s.images, np.memmap)
