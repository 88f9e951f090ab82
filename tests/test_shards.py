"Shards: stopped while they are written, damaged, resumed, split over processes, published by others. Small images, no network."
import io, json, os, pickle, signal, subprocess, sys, tarfile, time
import cv2, numpy as np, pandas as pd, pytest
pa,pq = pytest.importorskip('pyarrow'),pytest.importorskip('pyarrow.parquet')
import torch
from galaxy_ssl.catalog import shard_loader
from galaxy_ssl.catalog.shard_loader import ShardDL, ShardImages, ShardOrder, ingest_shards, shard_dls
from galaxy_ssl.catalog.stream import ImageStream
from galaxy_ssl.data import Survey
from galaxy_ssl.study.cli import main
from galaxy_ssl.survey import shards as sharding
from galaxy_ssl.survey.shards import is_shards, open_shards, write_shards

N = 330
rng = np.random.default_rng(0)
IMAGES = rng.integers(0, 256, (N,16,16,3), dtype=np.uint8)
LABELS = np.where(np.arange(N)%5, np.arange(N)%3, -1)
TABLE = pd.DataFrame(dict(ra=np.linspace(0,9,N), name=[f'g{i}' for i in range(N)], label=['a']*N, mixed=[i if i%2 else 'x' for i in range(N)]))

def survey(**kwargs): return Survey(**dict(images=IMAGES, labels=LABELS, classes=['a','b','c'], name='s', ids=[f'{i:03}.png' for i in range(N)], table=TABLE)|kwargs)
def png(im): return cv2.imencode('.png', im[...,::-1])[1].tobytes()
def everything(s):
    ids,x,y = zip(*(o for f in s.files for o in s.read(f)))
    return sum(map(list,ids), []),np.concatenate(x),np.concatenate(y)
def same(path, **kwargs):
    s = open_shards(path, **kwargs)
    ids,x,y = everything(s)
    assert ids==[f'{i:03}.png' for i in range(N)] and (x==IMAGES).all() and (y==LABELS).all() and len(s)==N
    return s
def one_sentence(e): assert '\n' not in str(e.value)
@pytest.fixture(scope='module')
def folder(tmp_path_factory): return write_shards(survey(), tmp_path_factory.mktemp('shards')/'s', per_shard=50)
@pytest.fixture
def own(tmp_path): return write_shards(survey(), tmp_path/'s', per_shard=50)

# ---------------------------------------------------------------- writing

@pytest.mark.parametrize('encoding', ['raw','png'])
def test_written_and_read(tmp_path, encoding):
    s = same(write_shards(survey(), tmp_path/'s', shards=4, encoding=encoding))
    assert len(s.files)==4 and s.classes==['a','b','c'] and s.shape==(16,16,3)
    t = pq.read_table(s.files[0]).to_pandas()
    assert list(t)==['id','image','label','ra','name','table_label','mixed'] and t.mixed[:2].tolist()==['x','1'] and t.ra[1]==TABLE.ra[1]
    assert pickle.loads(pickle.dumps(s)).fingerprint==s.fingerprint and same(pickle.loads(pickle.dumps(s)))

def test_the_same_pixels_in_other_files_are_told_apart_only_by_what_they_are(tmp_path, folder):
    assert open_shards(write_shards(survey(), tmp_path/'a', per_shard=50)).fingerprint==open_shards(folder).fingerprint
    assert open_shards(write_shards(survey(images=IMAGES[::-1]), tmp_path/'b', per_shard=50)).fingerprint!=open_shards(folder).fingerprint

def test_hugging_face_opens_them(folder, tmp_path):
    datasets = pytest.importorskip('datasets')
    ds = datasets.load_dataset('parquet', data_files=sorted(map(str, folder.glob('*.parquet'))), split='train', streaming=True)
    row = next(iter(ds))
    assert row['image']==IMAGES[0].tobytes() and row['id']=='000.png'
    plain = write_shards(survey(table=None), tmp_path/'p', encoding='png')
    ds = datasets.load_dataset('parquet', data_files=sorted(map(str, plain.glob('*.parquet'))), split='train', streaming=True)
    assert (np.asarray(next(iter(ds))['image'])==IMAGES[0]).all() and ds.features['label'].names==['a','b','c']

def stopped_after(monkeypatch, k, error):
    write,seen = sharding._write_part,[]
    def broken(path, *args):
        seen.append(path.name)
        if len(seen)>k: raise error
        return write(path, *args)
    monkeypatch.setattr(sharding, '_write_part', broken)
    return seen

@pytest.mark.parametrize('error', [KeyboardInterrupt(), OSError(28,'No space left on device')])
def test_stopped_while_writing_goes_on(tmp_path, monkeypatch, error):
    with monkeypatch.context() as m:
        stopped_after(m, 3, error)
        with pytest.raises(type(error)): write_shards(survey(), tmp_path/'s', per_shard=50)
    assert [o.name for o in sorted((tmp_path/'s').iterdir())]==[f'part-{k:05}.parquet' for k in range(3)]
    with pytest.raises(ValueError, match=r'4 of 7 shards are missing in .*, the first part-00003.parquet; write the shards again to add them') as e: open_shards(tmp_path/'s')
    one_sentence(e)
    seen = stopped_after(monkeypatch, 99, error)
    same(write_shards(survey(), tmp_path/'s', per_shard=50))
    assert seen==[f'part-{k:05}.parquet' for k in range(3,7)]

def test_killed_while_writing_goes_on(tmp_path):
    files = tmp_path/'in'
    files.mkdir()
    for i in range(N): (files/f'{i:03}.png').write_bytes(png(IMAGES[i]))
    code = f"""
import time, galaxy_ssl.survey.shards as s
from galaxy_ssl.catalog.shard_loader import ingest_shards
write = s._write_part
def slow(*a): write(*a); print('one', flush=True); time.sleep(.3)
s._write_part = slow
ingest_shards({str(files)!r}, {str(tmp_path/'out')!r}, None, None, per_shard=50)
"""
    p = subprocess.Popen([sys.executable,'-W','ignore','-c',code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for _ in range(2): assert p.stdout.readline()=='one\n'
    p.kill(); p.wait()
    n = len(list((tmp_path/'out').glob('part-*.parquet')))
    assert 2<=n<7
    s = open_shards(ingest_shards(files, tmp_path/'out', None, None, per_shard=50))
    ids,x,_ = everything(s)
    assert ids==[f'{i:03}.png' for i in range(N)] and (x==IMAGES).all()

def test_another_source_is_refused(own):
    with pytest.raises(FileExistsError, match='part-00000.parquet was made from another source or with other settings; choose another folder, or remove') as e: write_shards(survey(labels=LABELS*0), own, per_shard=50)
    one_sentence(e)

def test_unusable_images_are_left_out_and_too_many_refused(tmp_path):
    files = tmp_path/'in'
    files.mkdir()
    for i in range(60): (files/f'{i:03}.png').write_bytes(png(IMAGES[i]) if i!=33 else b'\x89PNG broken')
    s = open_shards(write_shards(ImageStream(files), tmp_path/'out', per_shard=20))
    ids,x,_ = everything(s)
    assert len(s)==59 and '033.png' not in ids and (x==IMAGES[[i for i in range(60) if i!=33]]).all()
    for i in range(30): (files/f'{i:03}.png').write_bytes(b'\x89PNG broken')
    with pytest.raises(ValueError, match=r'more than 1 % of the 60 images cannot be used; the first, 000.png .*--max-bad') as e: write_shards(ImageStream(files), tmp_path/'b', per_shard=20)
    one_sentence(e)

# ---------------------------------------------------------------- damage

def test_a_shard_cut_short_is_named(own):
    p = own/'part-00003.parquet'
    p.write_bytes(p.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r'the shard .*part-00003.parquet is damaged or cut short .*; remove it, and write the shards again') as e: open_shards(own)
    one_sentence(e)
    p.unlink()
    same(write_shards(survey(), own, per_shard=50))

@pytest.mark.parametrize('encoding', ['raw','png'])
def test_a_changed_byte_is_found_in_training(tmp_path, encoding):
    own = write_shards(survey(), tmp_path/'s', per_shard=50, encoding=encoding)
    dls = shard_dls(own, bs=16, device='cpu')
    p = own/'part-00004.parquet'
    data = bytearray(p.read_bytes())
    data[2000] ^= 255
    p.write_bytes(data)
    with pytest.raises(ValueError, match='the shard .*part-00004.parquet is damaged') as e: list(dls.train)
    one_sentence(e)
    with pytest.raises(ValueError, match='part-00004.parquet is damaged'): everything(open_shards(own))

def test_a_shard_that_goes_away_is_named(own):
    dls = shard_dls(own, bs=16, device='cpu')
    (own/'part-00004.parquet').unlink()
    with pytest.raises(FileNotFoundError, match='part-00004.parquet is missing') as e: list(dls.train)
    one_sentence(e)

@pytest.mark.parametrize('error', [ValueError('is cut short'), MemoryError(), RuntimeError('boom')])
def test_a_worker_that_dies_names_its_image(tmp_path, monkeypatch, error):
    own = write_shards(survey(), tmp_path/'s', per_shard=50, encoding='png')
    dl,decode,target = ShardDL(open_shards(own), 16, device='cpu'),sharding.decode_image,png(IMAGES[123])
    def dies(data, *args):
        if data==target: raise error
        return decode(data, *args)
    monkeypatch.setattr(sharding, 'decode_image', dies)
    with pytest.raises(ValueError, match=r'image 123.png of the shard .*part-00002.parquet cannot be read: it') as e: list(dl)
    one_sentence(e)

# ---------------------------------------------------------------- the loader

def rows(dl): return [(x.as_subclass(torch.Tensor).clone(),y.tolist()) for x,y in dl]
def equal(a, b): return len(a)==len(b) and all((x==u).all() and y==v for (x,y),(u,v) in zip(a,b))

@pytest.mark.parametrize('encoding', ['raw','png'])
@pytest.mark.parametrize('stop', [1,5,8,11,16])
def test_resumed_gives_the_same_batches(tmp_path, encoding, stop):
    s = open_shards(write_shards(survey(), tmp_path/'s', per_shard=50, encoding=encoding))
    make = lambda: ShardDL(s, 32, images=256, order=ShardOrder(s, 32, held=20, seed=3), device='cpu') # 8 batches an epoch, 9 a pass
    dl = make()
    whole = [o for _ in range(3) for o in rows(dl)]
    dl,seen = make(),[]
    while len(seen)<stop:
        for x,y in dl:
            seen.append((x.as_subclass(torch.Tensor).clone(),y.tolist()))
            if len(seen)==stop: break
    kept = json.loads(json.dumps(dl.state()))
    other = make()
    other.set_state(kept)
    while len(seen)<24: seen += rows(other)
    assert equal(seen, whole)

def test_a_position_of_another_stream_is_refused(folder, tmp_path):
    s = open_shards(folder)
    kept = ShardDL(s, 32, device='cpu').state()
    for other in (ShardDL(s, 16, device='cpu'), ShardDL(s, 32, order=ShardOrder(s, 32, seed=1), device='cpu'),
                  ShardDL(open_shards(write_shards(survey(labels=LABELS*0), tmp_path/'t')), 32, device='cpu')):
        with pytest.raises(ValueError, match='the position is of a stream with') as e: other.set_state(kept)
        one_sentence(e)

def test_looking_at_a_batch_moves_nothing(folder):
    dl = ShardDL(open_shards(folder), 32, device='cpu')
    x,_ = dl.one_batch()
    assert dl.state()['batch']==0 and (next(iter(dl))[0]==x).all() and dl.state()['batch']==1
    dl.new(bs=16).one_batch()
    assert dl.state()['batch']==1

@pytest.mark.parametrize('encoding', ['raw','png'])
@pytest.mark.parametrize('world', [2,4,3])
def test_processes_share_an_epoch(tmp_path, world, encoding):
    "Each image at most once, all but those of an incomplete batch, and the batches of one process"
    s = open_shards(write_shards(survey(), tmp_path/'s', per_shard=50, encoding=encoding))
    shares = [ShardDL(s, 24, device='cpu').share(r, world) for r in range(world)]
    assert len({len(o) for o in shares})==1
    for k in range(2):
        n = len(shares[0])
        per = [[o.survey.images.names([(k*n+t)*o.bs]) for t in range(n)] for o in shares]
        flat = [i for p in per for b in p for i in b]
        assert len(flat)==len(set(flat))==n*24 and N-len(flat)<24+8
        if world==3: continue
        one = ShardDL(s, 24, device='cpu')
        assert [sum(o, []) for o in zip(*per)]==[one.survey.images.names([(k*n+t)*24]) for t in range(n)]
        assert equal([(torch.cat([x for x,_ in b]),sum((y for _,y in b), [])) for b in zip(*map(rows, shares))], rows_of(one, k))

def rows_of(dl, k):
    for _ in range(k): rows(dl)
    return rows(dl)

def test_every_image_once_where_it_comes_out_even(tmp_path):
    s = open_shards(write_shards(survey().subset(range(320)), tmp_path/'s', per_shard=50))
    for world in (1,2,4):
        names = [i for r in range(world) for t in range(10) for i in ShardDL(s, 32, device='cpu').share(r, world).survey.images.names([t*32//world])]
        assert sorted(names)==[f'{i:03}.png' for i in range(320)]

def test_another_number_of_processes_goes_on_or_says_that_it_cannot(folder):
    s = open_shards(folder)
    whole = rows(ShardDL(s, 24, device='cpu'))
    two = ShardDL(s, 24, device='cpu').share(0, 2)
    it = iter(two)
    for _ in range(4): next(it)
    kept = two.state()
    four = [ShardDL(s, 24, device='cpu').share(r, 4) for r in range(4)]
    for o in four: o.set_state(kept)
    assert equal([(torch.cat([x for x,_ in b]),sum((y for _,y in b), [])) for b in zip(*map(rows, four))], whole[4:])
    with pytest.raises(ValueError, match='lanes=8, this one has 3.*number of processes') as e: ShardDL(s, 24, device='cpu').share(0, 3).set_state(kept)
    one_sentence(e)

def test_validation_is_never_trained_on(folder):
    dls = shard_dls(folder, bs=16, valid=30, device='cpu')
    held = {f'{i:03}.png' for i in range(30)}
    assert set(dls.valid.survey.ids)==held
    trained = {i for t in range(3*len(dls.train)) for i in dls.train.survey.images.names([t*16])}
    assert not held&trained and len(trained)==300

def test_batches_mix_the_survey(tmp_path):
    s = open_shards(write_shards(survey(), tmp_path/'s', per_shard=20))
    o = ShardImages(s, ShardOrder(s, 32))
    assert np.mean([len({int(i[:3])//20 for i in o.names([32*t])}) for t in range(10)])>8

@pytest.mark.parametrize('name', ['simclr','mae','dino','autoencoder'])
def test_every_method_trains_on_shards(tmp_path, name):
    from galaxy_ssl.autoencoder import autoencoder_learner
    from galaxy_ssl.base.encoders import create_encoder
    from galaxy_ssl.dino import dino_learner
    from galaxy_ssl.mae import mae_learner
    from galaxy_ssl.simclr import simclr_learner
    big = np.ascontiguousarray(IMAGES.repeat(2,1).repeat(2,2)[:120])
    dls = shard_dls(write_shards(survey(images=big, labels=LABELS[:120], ids=None, table=None), tmp_path/'s', per_shard=50), bs=16, valid=20, images=32, device='cpu')
    enc = lambda: create_encoder('resnet18', size=32)
    learn = dict(simclr=lambda: simclr_learner(dls, enc(), size=32), autoencoder=lambda: autoencoder_learner(dls, enc()),
                 mae=lambda: mae_learner(dls), dino=lambda: dino_learner(dls))[name]()
    with learn.no_bar(), learn.no_logging(): learn.fit(2, 1e-3)
    assert learn.dls.train.state()['batch']==4 and np.isfinite([float(o) for o in learn.recorder.losses]).all()

def train(path, steps=99, state=None):
    "Sums of the images of each step of two epochs, and the position after `steps`"
    from fastai.basics import Callback, CancelFitException, SGD, set_seed
    from galaxy_ssl.base.distributed import several_processes
    from galaxy_ssl.autoencoder import ResNetDecoder, autoencoder_learner
    from torch import nn
    class Note(Callback):
        order,seen,kept = 60,[],None
        def before_fit(self):
            if state: self.dls.train.set_state(state)
        def before_batch(self):
            if self.training: self.seen.append(self.xb[0].flatten(1).double().sum(1).tolist())
        def after_step(self):
            if len(self.seen)<steps: return
            self.kept = self.dls.train.state()
            raise CancelFitException
    set_seed(0)
    net,note = nn.Sequential(nn.Conv2d(3,4,3,2,1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),Note()
    net.num_features,note.seen = 4,[]
    learn = autoencoder_learner(shard_dls(path, bs=24, valid=24, images=120, device='cpu'), net, decoder=ResNetDecoder(4, 16, widths=(4,4,4,4), depth=1), opt_func=SGD, cbs=note)
    with learn.no_bar(), learn.no_logging(), several_processes(learn): learn.fit(2, 1e-3)
    return note.seen,note.kept

def in_a_process(path, out):
    "What each process does: train, and train again with a stop after 7 batches of 10"
    whole,(part,kept) = train(path)[0],train(path, 7)
    with open(f"{out}.{os.environ['RANK']}",'w') as f: json.dump([whole,part+train(path, 3, kept)[0],kept], f)

def test_two_processes_train_and_go_on(folder, tmp_path):
    "Each reads its own images only; both together see the batches of one; stopped and resumed they see the same"
    pytest.importorskip('accelerate')
    env = {**os.environ, 'OMP_NUM_THREADS':'1', 'PYTHONWARNINGS':'ignore', 'CUDA_VISIBLE_DEVICES':'', 'MASTER_ADDR':'127.0.0.1', 'MASTER_PORT':str(29600+os.getpid()%300)}
    ps = [subprocess.Popen([sys.executable, __file__, str(folder), str(tmp_path/'a')], env=dict(env, RANK=str(r), LOCAL_RANK=str(r), WORLD_SIZE='2')) for r in range(2)]
    assert [p.wait(timeout=120) for p in ps]==[0,0]
    out = [json.loads((tmp_path/f'a.{r}').read_text()) for r in range(2)]
    want = [x.as_subclass(torch.Tensor).flatten(1).double().sum(1).tolist() for dl in [shard_dls(folder, bs=24, valid=24, images=120, device='cpu').train] for _ in range(2) for x,_ in dl]
    assert len(want)==10 and np.allclose([p+q for p,q in zip(out[0][0],out[1][0])], want)
    for whole,resumed,kept in out: assert resumed==whole and kept['batch']==7

# ---------------------------------------------------------------- published sets

def published(path, n=40, struct=True, **more):
    path.mkdir()
    kinds = dict(image={'_type':'Image'}, label={'_type':'ClassLabel','names':['a','b','c']})
    for k in range(2):
        i = range(k*n//2, (k+1)*n//2)
        image = [dict(bytes=png(IMAGES[j]), path=f'{j:03}.png') if struct else png(IMAGES[j]) for j in i]
        t = pa.table(dict(image=image, label=LABELS[list(i)], **{k:[v]*len(image) for k,v in more.items()}))
        pq.write_table(t.replace_schema_metadata(dict(huggingface=json.dumps(dict(info=dict(features=kinds))))), path/f'train-{k:05}-of-00002.parquet')
    return path

@pytest.mark.parametrize('struct', [True,False])
def test_a_published_set_is_read_as_it_is(tmp_path, struct):
    path = published(tmp_path/'hub', struct=struct)
    s = open_shards(path)
    ids,x,y = everything(s)
    assert (x==IMAGES[:40]).all() and (y==LABELS[:40]).all() and s.classes==['a','b','c'] and not is_shards(path)
    assert ids[:2]==(['000.png','001.png'] if struct else ['train-00000-of-00002-000000','train-00000-of-00002-000001'])
    assert len(rows(ShardDL(s, 8, device='cpu')))==5 and open_shards(path, size=8, crop=8).shape==(8,8,3)

def test_a_published_set_behind_an_address(tmp_path):
    path = published(tmp_path/'hub')
    s = open_shards(f'file://{path}')
    ids,x,y = everything(s)
    assert s.fs is not None and (x==IMAGES[:40]).all() and len(rows(ShardDL(s, 8, device='cpu')))==5
    t = open_shards(f'file://{write_shards(survey(), tmp_path/"own", per_shard=50)}')
    assert (everything(t)[1]==IMAGES).all() and len(rows(ShardDL(t, 32, device='cpu')))==10

def test_images_of_two_sizes_are_refused(tmp_path):
    (tmp_path/'hub').mkdir()
    pq.write_table(pa.table(dict(image=[png(IMAGES[0]),png(IMAGES[1][:12,:12])])), tmp_path/'hub'/'a.parquet')
    with pytest.raises(ValueError, match=r'image a-000001 of the shard .*a.parquet has 12×12 px, the first one has 16×16; pass `size`') as e: everything(open_shards(tmp_path/'hub'))
    one_sentence(e)
    assert everything(open_shards(tmp_path/'hub', size=8))[1].shape==(2,8,8,3)

def test_tars_of_webdataset_are_read(tmp_path):
    (tmp_path/'wds').mkdir()
    for k in range(2):
        with tarfile.open(tmp_path/'wds'/f'a-{k:06}.tar','w') as f:
            for i in range(k*20, k*20+20):
                for ext,data in (('png',png(IMAGES[i])),('cls',b'1')):
                    o = tarfile.TarInfo(f'{i:03}.{ext}')
                    o.size = len(data)
                    f.addfile(o, io.BytesIO(data))
    s = open_shards(tmp_path/'wds')
    ids,x,y = everything(s)
    assert (x==IMAGES[:40]).all() and ids[:2]==['000.png','001.png'] and len(rows(ShardDL(s, 8, device='cpu')))==5

def test_what_is_no_set_of_images_says_so(tmp_path):
    with pytest.raises(ValueError, match='holds no Parquet files and no tars'): open_shards(tmp_path)
    with pytest.raises(FileNotFoundError, match='there is no folder'): open_shards(tmp_path/'nowhere')
    pq.write_table(pa.table(dict(a=[1])), tmp_path/'a.parquet')
    with pytest.raises(ValueError, match='a.parquet holds no column of images: its columns are a'): open_shards(tmp_path)

# ---------------------------------------------------------------- the command

def test_the_command_writes_shards_and_goes_on(tmp_path, capsys):
    files = tmp_path/'in'
    files.mkdir()
    for i in range(30): (files/f'{i:03}.png').write_bytes(png(IMAGES[i]))
    (files/'labels.csv').write_text('file,label\n'+''.join(f'{i:03}.png,{"ab"[i%2]}\n' for i in range(30)))
    args = ['ingest', str(files), str(tmp_path/'out'), '--crop','0','--size','0','--shards','3']
    assert main(args)==0 and main(args)==0
    assert '30 images of 16×16 px in 3 files' in capsys.readouterr().out
    s = open_shards(tmp_path/'out')
    assert s.classes==['a','b'] and (everything(s)[1]==IMAGES[:30]).all()
    assert main([*args,'--sample','9'])==2 and main([*args[:-2],'--encoding','png'])==2

if __name__=='__main__': in_a_process(*sys.argv[1:])

def test_the_command_trains_on_shards(tmp_path, capsys):
    "From a folder of images to an encoder, by two commands"
    (tmp_path/'images').mkdir()
    for i,im in enumerate(IMAGES[:60]): (tmp_path/'images'/f'{i:03}.png').write_bytes(png(im))
    assert main(['ingest',str(tmp_path/'images'),str(tmp_path/'shards'),'--shards','2','--crop','0','--size','0'])==0
    args = ['pretrain',str(tmp_path/'e'),'--survey',str(tmp_path/'shards'),'--images','64','--epoch','32','--size','16','--bs','8']
    capsys.readouterr()
    assert main(args)==0 and capsys.readouterr().out==f"{tmp_path/'e.safetensors'}\n"
    assert main([*args,'--seed','1'])==1 and 'was not made with these settings' in capsys.readouterr().err
    args[1] = str(tmp_path/'other')
    assert main([*args,'--max-bad','.5'])==1 and 'take no `max_bad`' in capsys.readouterr().err
