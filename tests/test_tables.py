"Tables, labels and positions as users have them: missing labels, names of columns, formats, the rule of matching, folders, positions. No network."
import bz2, gzip, io, json, lzma, zipfile
import numpy as np, pandas as pd, pytest
from astropy import units as u
from astropy.coordinates import Angle, SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table
from PIL import Image
from galaxy_ssl.survey.folders import folder_labels
from galaxy_ssl.survey.labels import GZ2_RULE, match_labels
from galaxy_ssl.survey.catalogue import CLASSES
from galaxy_ssl.survey.matching import match_rows
from galaxy_ssl.survey.positions import has_positions, match_positions, with_positions
from galaxy_ssl.survey.tables import is_table, read_table

N = 60
K = ['round','disk','edge']
FILES = [f'g{i:03}.png' for i in range(N)]
Y = np.arange(N)%3
TEXT = [K[k] for k in Y]
GONE = np.arange(N)%4==0

def labels(m):
    "Class name of each image of FILES in what `match_labels` found, None for no label"
    at = dict(zip(m.names, m.labels))
    return [m.classes[at[f]] if at[f]>=0 else None for f in FILES]

def beside(content, names=FILES, name='labels.csv', **kw):
    return match_labels(names, [(name, content if isinstance(content,bytes) else content.encode())], **kw)

def csv(cols='file,label', sep=',', rows=None, head='', end=''):
    rows = zip(FILES,TEXT) if rows is None else rows
    return head+sep.join(cols.split(','))+end+'\n'+'\n'.join(sep.join(map(str,r))+end for r in rows)+'\n'

def sentence(e):
    s = str(e.value)
    assert '\n' not in s and 'Traceback' not in s and 'codec' not in s and 'object at' not in s and len(s)<900, s
    return s

def write(t, format, **kw):
    b = io.BytesIO() if format in ('fits','votable') else io.StringIO()
    t.write(b, format=format, **kw)
    return b.getvalue() if isinstance(b.getvalue(), bytes) else b.getvalue().encode()

# ---------------------------------------------------------------- missing labels

MISSING = [None if g else t for g,t in zip(GONE,TEXT)]
NUMBERS = [None if g else str(y) for g,y in zip(GONE,Y)]
F = np.array(FILES)
def table(label): return pd.DataFrame({'file':FILES, 'label':label})

@pytest.mark.parametrize('t,expected', [
    (table(np.where(GONE, np.nan, Y.astype(float))), NUMBERS), (table(pd.array([None if g else int(y) for g,y in zip(GONE,Y)], dtype='Int64')), NUMBERS),
    (table(MISSING), MISSING), (table(pd.array(MISSING, dtype='string')), MISSING), (table(pd.Categorical(MISSING)), MISSING),
    (table([np.nan if g else t for g,t in zip(GONE,TEXT)]), MISSING), (table([pd.NaT if g else t for g,t in zip(GONE,TEXT)]), MISSING),
    (table([None if g else y for g,y in zip(GONE,Y.tolist())]), NUMBERS), (table([None if g else float(y) for g,y in zip(GONE,Y.tolist())]), NUMBERS),
    (table(np.where(GONE, -1, Y)), NUMBERS), (table(np.where(GONE, -99, Y)), NUMBERS), (table(np.where(GONE, -999., Y)), NUMBERS),
    (Table({'file':F, 'label':MaskedColumn(Y, mask=GONE)}), NUMBERS), (Table({'file':F, 'label':MaskedColumn(TEXT, mask=GONE)}), MISSING),
    (Table({'file':F, 'label':np.where(GONE, np.nan, Y)}), NUMBERS), (Table({'file':F.astype('S8'), 'label':np.array(['' if g else t for g,t in zip(GONE,TEXT)],'S8')}), MISSING),
    (QTable({'file':F, 'label':MaskedColumn(Y.astype('i2'), mask=GONE)}), NUMBERS), ({'file':FILES,'label':MISSING}, MISSING),
    (dict(zip(FILES,MISSING)), MISSING), (pd.Series(MISSING, index=FILES), MISSING), (table(MISSING).set_index('file'), MISSING),
    (np.array(list(zip(FILES,['' if o is None else o for o in MISSING])), dtype=[('file','U9'),('label','U9')]), MISSING)])
def test_missing_labels_in_memory(t, expected):
    m = match_labels(FILES, labels=t)
    assert labels(m)==expected and len(m.classes)==3

@pytest.mark.parametrize('na', ['','NaN','nan','None','N/A','n/a','NA','--','-','null','NULL','<NA>','NaT','masked','#N/A','  ','-1'])
@pytest.mark.parametrize('numbers', [False,True])
def test_missing_labels_in_a_csv(na, numbers):
    m = beside(csv(rows=[(f, na if g else (float(y) if numbers else t)) for f,g,y,t in zip(FILES,GONE,Y,TEXT)]))
    assert labels(m)==(NUMBERS if numbers else MISSING) and len(m.classes)==3
    assert any('no label' in o for o in m.notes)==(na.strip() not in ('','-1'))

@pytest.mark.parametrize('fmt', ['fits','votable','ascii.ecsv','ascii.csv','parquet','jsonl'])
def test_missing_labels_in_files(fmt, tmp_path):
    t = Table({'file':F, 'label':MaskedColumn(Y, mask=GONE)})
    if fmt=='parquet':
        b = io.BytesIO(); t.to_pandas().to_parquet(b); b = b.getvalue()
    elif fmt=='jsonl': b = t.to_pandas().to_json(orient='records', lines=True).encode()
    else: b = write(t, fmt)
    (tmp_path/'l').write_bytes(b)
    assert labels(match_labels(FILES, labels=tmp_path/'l'))==NUMBERS

# ---------------------------------------------------------------- names of columns

OBJECTS = [f'{100+i}.png' for i in range(N)]

@pytest.mark.parametrize('col', ['File','FILE','filename','file_name','File Name','file-name','file_loc','file_path','path','filepath','image','image_path','img','img_path','png_loc',
    'name','Name','id','ID','id_str','OBJID','objID','obj_id','object_id','objectid','iauname','iau_name','dr7objid','dr8objid','dr7_id','specobjid','asset_id','GalaxyID','galaxy_id','galaxyID',
    'source_id','targetid','TARGETID','subject_id','file_1','image_id','Unnamed: 0,file','IAU Name','jpg_loc','fits_loc','cutout','"file"'])
@pytest.mark.parametrize('with_suffix', [True,False])
def test_names_of_the_file_column(col, with_suffix):
    rows = [(f'{100+i}'+'.png'*with_suffix, t) for i,t in enumerate(TEXT)]
    if ',' in col: rows = [(i,*r) for i,r in enumerate(rows)]
    m = beside(csv(f'{col},label', rows=rows), OBJECTS)
    assert m.names==OBJECTS and [m.classes[y] for y in m.labels]==TEXT

@pytest.mark.parametrize('col', ['label','Label','LABEL','labels','class','CLASS','Class Name','class_name','class-label','target','targets','y','category','ans','answer','morphology','Morph','label_1'])
def test_names_of_the_label_column(col):
    m = beside(csv(f'file,{col}'))
    assert labels(m)==TEXT and m.skipped==[]
    assert any(f'labels from the column `{col}`' in o for o in m.notes)==(col.lower()!='label')

def test_options_name_any_column():
    rows = [(i,f,t,i%7) for i,(f,t) in enumerate(zip(FILES,TEXT))]
    m = beside(csv('n,tile,kind,x', rows=rows), label_column='Kind', file_column='tile')
    assert labels(m)==TEXT
    with pytest.raises(ValueError, match=r"no column that names the images: expected file, .* or `file_column`, got n, tile, kind, x; the first row is '0, g000.png, round, 0', the first image 'g000.png'.*file_column='tile'") as e: beside(csv('n,tile,kind,x', rows=rows))
    sentence(e)
    with pytest.raises(ValueError, match=r"no column of labels: expected label, class, target.* or `label_column`, got n, tile, kind, x") as e: beside(csv('n,tile,kind,x', rows=rows), file_column='tile')
    sentence(e)
    for kw in (dict(label_column='T'),dict(file_column='T')):
        with pytest.raises(ValueError, match=r"has no column 'T' .*; its columns are file, label") as e: beside(csv(), **kw)
        sentence(e)

def test_the_first_of_several_label_columns_is_taken_and_said():
    m = beside(csv('file,class,label', rows=[(f,'a',t) for f,t in zip(FILES,TEXT)]))
    assert labels(m)==TEXT and any('labels from the column `label`, not from `class`' in o for o in m.notes)
    m = beside(csv('file,x,y,class', rows=[(f,i,2*i,t) for i,(f,t) in enumerate(zip(FILES,TEXT))]))   # x and y are pixels
    assert labels(m)==TEXT
    m = beside(csv('file,label,class', rows=[(f,'',t) for f,t in zip(FILES,TEXT)]))                    # nothing in label
    assert labels(m)==TEXT

def test_of_several_file_columns_the_one_that_names_most():
    rows = [(i,587722952767439450+i,t) for i,t in enumerate(TEXT)]
    names = [f'{587722952767439450+i}.jpg' for i in range(N)]
    m = beside(csv('id,objid,label', rows=rows), names)
    assert m.names==names and [m.classes[y] for y in m.labels]==TEXT

# ---------------------------------------------------------------- plain text

LINES = csv()
@pytest.mark.parametrize('text', [
    csv(sep=';'), csv(sep='\t'), csv(sep='|'), csv(sep=' '), csv(sep=', '), csv(sep='   '), '# by hand\n'+LINES, '# by hand\n#\n#  second, line\n\n'+LINES, '% matlab\n'+LINES, '#Table1\n'+LINES,
    LINES.replace('\n','\r\n'), LINES.replace('\n','\r'), LINES.replace('\n','\n\n'), csv(end=','), csv(end=',').replace(',\n','\n',1), csv(sep=';',end=';'), csv(end=',,,'),
    csv(end=',,,').replace(',,,\n','\n',1), 'sep=;\n'+csv(sep=';'), '"sep=,"\n'+LINES, '# file label\n'+LINES.split('\n',1)[1].replace(',',' '), '#file,label\n'+LINES.split('\n',1)[1],
    csv('id,file,label', rows=[(i,f,t) for i,(f,t) in enumerate(zip(FILES,TEXT))], end=',').replace(',\n','\n',1), LINES.replace('round','"round"').replace('g0','"g0').replace('.png','.png"'),
    '#id file label\n'+'\n'.join(f'{i} {f} {t}' for i,(f,t) in enumerate(zip(FILES,TEXT))), LINES+',\n,\n', LINES+'#g000.png,edge\n', LINES.rstrip('\n'),
    csv('file;z;label',sep=';',rows=[(f'{f};{i},5;{t}',) for i,(f,t) in enumerate(zip(FILES,TEXT))]).replace('file;z;label','file;z;label'), '\n\n'+LINES,
    '# RESOURCE=yCat\n#Name: x\nfile;label\n;\n--------;-----\n'+LINES.split('\n',1)[1].replace(',',';'), 'file\tlabel\n10S\t8S\n'+LINES.split('\n',1)[1].replace(',','\t'),
    '"file" "label"\n'+'\n'.join(f'"{i+1}" "{f}" "{t}"' for i,(f,t) in enumerate(zip(FILES,TEXT))), "file,label\n"+'\n'.join(f"'{f}','{t}'" for f,t in zip(FILES,TEXT)),
    'file,round,disk,edge\n'+'\n'.join(f'{f},'+','.join(str(int(t==k)) for k in K) for f,t in zip(FILES,TEXT)),
    '| file | label |\n'+'\n'.join(f'| {f} | {t} |' for f,t in zip(FILES,TEXT)), ',file,label\n'+'\n'.join(f'{i},{f},{t}' for i,(f,t) in enumerate(zip(FILES,TEXT)))])
@pytest.mark.parametrize('encoding', ['utf-8','utf-8-sig','utf-16'])
def test_separators_headers_and_ends(text, encoding):
    m = beside(text.encode(encoding))
    assert labels(m)==TEXT and m.skipped==[] and len(m.names)==N

@pytest.mark.parametrize('encoding', ['utf-8','utf-8-sig','utf-16','utf-16-le','utf-16-be','utf-32','latin-1','cp1252'])
def test_encodings(encoding):
    m = beside(csv().replace('round','régulière').encode(encoding))
    assert m.classes==['disk','edge','régulière']
    assert ('labels.csv is not UTF-8' in ' '.join(m.notes))==(encoding in ('latin-1','cp1252'))

def test_decimal_commas_and_quotes():
    t = read_table('id;ra;name;label\n1;"150,25";"a; b";x\n2;0,5;c;y\n'.encode(), notes=(notes:=[]))
    assert t.ra.tolist()==['150.25','0.5'] and t.name.tolist()==['a; b','c'] and 'decimal commas, in `ra`' in notes[0]
    assert read_table(b'file,label\n"a, b.png","spiral, ""barred"""').values.tolist()==[['a, b.png','spiral, "barred"']]

@pytest.mark.parametrize('text,match', [
    ('', 'it is empty'), (' \n\n', 'it is empty'), ('# only\n# comments\n', 'only comments'), (LINES.replace('.png','').split('\n',1)[1], "its first line is 'g000, round', which names an image: expected a header"), (LINES.split('\n',1)[1], "its first line is 'g000.png,round', expected a header such as file,label"),
    ('file,label\ng000.png,round\ng001.png,disk,edge', "row 2 has more fields than the header's 2"), ('file,label\n"g000.png,round\ng001.png,disk', 'a quote in it is not closed'),
    (b'PK\x03\x04 cut', 'a .zip that cannot be unpacked'), (b'\x89HDF\r\n\x1a\n....', 'an HDF5 file'), (b'\xd0\xcf\x11\xe0....', r'an Excel file \(.xls\)'), (b'%PDF-1.7', 'a PDF'), (b'<!DOCTYPE html><html>', 'a web page'),
    (b'<?xml version="1.0"?><svg>', 'XML, but no VOTable'), (b'\x80\x04\x95', 'a pickle'), (b'\x00\x01\x02\x03'*50, 'neither text nor a known format'), (b'\xff\xd8\xff\xe0', 'a JPEG image'), (gzip.compress(LINES.encode())[:50], 'cannot be unpacked'),
    (b'version https://git-lfs.github.com/spec/v1\noid', 'git lfs pull'), (b'SIMPLE  =                    T', 'a FITS file'), (b'PAR1'+b'\x15\x04'*50+b'PAR1', 'a Parquet file that is damaged'), (b'# %ECSV 1.0\n# ---\n# datatype: [', 'format ecsv'),
    (b'<?xml version="1.0"?><VOTABLE><RESOURCE><INFO name="QUERY_STATUS" value="ERROR">no</INFO></RESOURCE></VOTABLE>', 'without a table'), (b'{"file":"a"}\n{"file":', 'line 2 is not JSON'), (b'[1,2,3]', None)])
def test_what_is_no_table_is_refused_in_a_sentence(text, match):
    with pytest.raises(ValueError, match=match) as e: beside(text)
    assert sentence(e).startswith('survey: labels.csv ')

@pytest.mark.parametrize('inside,match', [(['xl/workbook.xml'],'a spreadsheet of Excel'), (['word/document.xml'],'a document of Word'), (['content.xml'],'an OpenDocument file'), (['a.csv','b.csv'],'2 tables in it'), (['x.jpg'],'0 tables')])
def test_zip_files_that_are_no_table(inside, match):
    b = io.BytesIO()
    with zipfile.ZipFile(b,'w') as z:
        for o in inside: z.writestr(o,'x')
    with pytest.raises(ValueError, match=match) as e: read_table(b.getvalue(), 'l')
    sentence(e)

# ---------------------------------------------------------------- formats

def hdus(t):
    b = io.BytesIO(); fits.HDUList([fits.PrimaryHDU(np.zeros((3,3))), fits.ImageHDU(np.zeros((2,2))), fits.table_to_hdu(t)]).writeto(b); return b.getvalue()
def parquet(t, **kw): b = io.BytesIO(); t.to_pandas().to_parquet(b, **kw); return b.getvalue()
def zipped(b):
    o = io.BytesIO()
    with zipfile.ZipFile(o,'w') as z: z.writestr('training_solutions_rev1.csv', b); z.writestr('__MACOSX/._t.csv', b'x')
    return o.getvalue()
T = Table({'objid':np.arange(N)+1237648720693755918, 'label':TEXT, 'z':np.linspace(0,1,N)})
MRT = '''Title: x
Authors: y
Table: z
================================================================================
Byte-by-byte Description of file: t.txt
--------------------------------------------------------------------------------
   Bytes Format Units  Label     Explanations
--------------------------------------------------------------------------------
   1- 19 I19    ---    objid     Id
  21- 25 A5     ---    label     Class
--------------------------------------------------------------------------------
'''+'\n'.join(f'{o:19d} {t:5s}' for o,t in zip(T['objid'],TEXT))+'\n'
FORMATS = {'fits':lambda: write(T,'fits'), 'fits later hdu':lambda: hdus(T), 'fits padded':lambda: write(T,'fits')+b'\0'*2880, 'votable':lambda: write(T,'votable'), 'votable text':lambda: write(T,'votable',tabledata_format='tabledata'),
    'ecsv':lambda: write(T,'ascii.ecsv'), 'ipac':lambda: write(T,'ascii.ipac'), 'topcat ascii':lambda: write(T,'ascii.commented_header'), 'tab':lambda: write(T,'ascii.tab'), 'rdb':lambda: write(T,'ascii.rdb'), 'fixed width':lambda: write(T,'ascii.fixed_width'),
    'csv':lambda: write(T,'ascii.csv'), 'mrt':lambda: MRT.encode(), 'latex':lambda: write(T,'ascii.latex'), 'parquet':lambda: parquet(T), 'parquet zstd':lambda: parquet(T,compression='zstd'), 'jsonl':lambda: T.to_pandas().to_json(orient='records',lines=True).encode(),
    'json records':lambda: T.to_pandas().to_json(orient='records').encode(), 'json columns':lambda: T.to_pandas().to_json().encode(), 'csv.gz':lambda: gzip.compress(write(T,'ascii.csv')), 'csv.bz2':lambda: bz2.compress(write(T,'ascii.csv')),
    'fits.gz':lambda: gzip.compress(write(T,'fits')), 'csv.xz':lambda: lzma.compress(write(T,'ascii.csv')), 'zip':lambda: zipped(write(T,'ascii.csv')), 'sextractor-like basic':lambda: write(T,'ascii.basic')}

@pytest.mark.parametrize('fmt', FORMATS)
@pytest.mark.parametrize('how', ['bytes','path'])
def test_formats_by_content(fmt, how, tmp_path):
    names = [f'{o}.jpg' for o in T['objid']]
    (tmp_path/'table').write_bytes(FORMATS[fmt]())
    m = match_labels(names, labels=tmp_path/'table') if how=='path' else beside(FORMATS[fmt](), names)
    assert m.names==names and [m.classes[y] for y in m.labels]==TEXT   # all 19 digits

@pytest.mark.parametrize('o', [T, QTable(T), T.to_pandas(), T.to_pandas().convert_dtypes(), {k:T[k] for k in T.colnames}, T.as_array(), T.to_pandas().to_dict('records'), T.to_pandas().set_index('objid')])
def test_tables_in_memory(o):
    names = [f'{o}.jpg' for o in T['objid']]
    m = match_labels(names, labels=o)
    assert m.names==names and [m.classes[y] for y in m.labels]==TEXT

@pytest.mark.parametrize('o', [3, [1,2], np.zeros(N), lambda: 0])
def test_what_is_no_table_in_memory(o):
    with pytest.raises(ValueError, match='the table of labels must be a path, a DataFrame, an astropy Table or a dict of columns, got') as e: match_labels(FILES, labels=o)
    sentence(e)

def test_several_tables_in_one_file_are_said():
    b = io.BytesIO(); fits.HDUList([fits.PrimaryHDU(), fits.table_to_hdu(T), fits.table_to_hdu(T[:3])]).writeto(b)
    notes = []
    assert len(read_table(b.getvalue(), 'a.fits', notes))==N and notes==["a.fits holds 2 tables: read the first, extension 1"]

def test_the_text_of_a_table():
    assert labels(match_labels(FILES, labels=csv()))==TEXT and read_table('file,label\na,b').label.tolist()==['b']

def test_columns_of_one_name():
    notes = []
    t = read_table(b'file,label,label\na,1,2\n', 'l', notes)
    assert list(t)==['file','label','label_2'] and 'several columns `label`' in notes[0]

def test_a_file_that_is_not_there(tmp_path):
    for o in ('nowhere.csv', tmp_path/'nowhere.fits'):
        with pytest.raises(FileNotFoundError, match='there is no file .*nowhere') as e: match_labels(FILES, labels=o)
        sentence(e)
    with pytest.raises(ValueError, match='is a folder: expected a table'): match_labels(FILES, labels=tmp_path)
    with pytest.raises(ValueError, match='download it first'): match_labels(FILES, labels='https://a.org/l.csv')

def test_without_pyarrow(monkeypatch):
    b = parquet(T)
    import builtins
    real = builtins.__import__
    def fake(name, *a, **kw):
        if name.split('.')[0]=='pyarrow': raise ImportError(name)
        return real(name, *a, **kw)
    monkeypatch.setattr(builtins, '__import__', fake)
    with pytest.raises(ImportError, match='needs pyarrow: pip install pyarrow'): read_table(b, 'l.parquet')

def test_names_of_tables():
    assert all(map(is_table, ['labels.csv','LABELS.CSV','a.tsv','a.txt','a.dat','a.ecsv','a.vot','a.votable','a.xml','a.parquet','a.fits','a.jsonl','a.csv.gz','a.fits.gz','a.csv.bz2','labels.xlsx']))
    assert not any(map(is_table, ['a.jpg','a.h5','csv','a.zip','a.npy','labels']))

# ---------------------------------------------------------------- matching

IMAGES = ['train/round/1.jpg','train/round/2.jpg','test/edge/1.jpg','test/edge/00123.jpg','NGC_10.FITS.GZ','e\u0301toile.png','a b.png','deep/er/x.y.png']
@pytest.mark.parametrize('entry,folder,expected', [
    ('train/round/1.jpg','',0), ('./train/round/1.jpg','',0), ('/train/round/1.jpg','',0), (r'train\round\1.jpg','',0), (r'.\train\round\1.jpg','',0), (r'C:\data\train\round\1.jpg','',0), ('https://a.org/gz/train/round/1.jpg','',0),
    ('/home/me/gz/train/round/1.jpg','',0), ('round/1.jpg','train',0), ('round/1.jpg','',0), ('edge/1','',2), ('https://a.org/a%20b.png?size=64','',6), ('1.jpg','test/edge',2), ('1.jpg','',-1), ('1','',-1), ('2.jpg','',1), ('2','',1), ('2.png','',1), ('other/2.jpg','',1),
    ('00123','',3), ('123','',3), ('123.0','',3), ('000123.jpg','',3), ('ngc_10','',4), ('NGC_10.fits','',4), ('ngc_10.fits.fz','',4), ('\xe9toile.png','',5), ('E\u0301TOILE','',5), ('a b','',6), ('a b.png ','',6), ('x.y','',7), ('er/x.y.png','deep',7),
    ('X.Y.PNG','',7), ('../train/round/1.jpg','csv',0), ('TRAIN/ROUND/1.JPG','',0), ('3','',-1), ('','',-1), ('train/round','',-1), ('10','',-1), ('nan','',-1)])
def test_the_rule(entry, folder, expected): assert match_rows([entry], IMAGES, folder)[0].tolist()==[expected]

def test_what_could_be_two_images_is_not_guessed():
    image,why = match_rows(['1.jpg','train/round/1.jpg','gone.jpg'], IMAGES)
    assert image.tolist()==[-1,0,-1] and why=={0:'could be train/round/1.jpg or test/edge/1.jpg'}
    m = beside('file,label\n1.jpg,S\n2.jpg,E\ntrain/round/1.jpg,S\n', IMAGES)
    assert m.skipped==[('1.jpg','could be train/round/1.jpg or test/edge/1.jpg')]
    with pytest.raises(ValueError, match="'1.jpg' in column `file`, which could be train/round/1.jpg or test/edge/1.jpg: give the folder") as e: beside('file,label\n1.jpg,S\n', IMAGES)
    sentence(e)
    assert match_rows(['a.jpg','A.jpg'], ['a.jpg','A.jpg'])[0].tolist()==[0,1] and match_rows(['a','x/a.png'], ['a.jpg','a.png'])[0].tolist()==[-1,1]

def test_a_row_of_another_folder_gives_way():
    image,why = match_rows(['b/1.jpg','a/1.jpg','c/1.jpg'], ['a/1.jpg','z.jpg'])
    assert image.tolist()==[-1,0,-1] and set(why)=={0,2} and 'more exactly' in why[0]

def test_a_folder_that_differs_is_said():
    m = beside('path,label\n/data/train/round/1.jpg,S\nsmooth/2.jpg,E\n', ['train/round/1.jpg','train/round/2.jpg'])
    assert m.labels.tolist()==[1,0] and m.notes==['labels.csv: 1 row is matched by the end of their path, such as smooth/2.jpg to train/round/2.jpg']
    assert beside(csv('path,label',rows=[(f'/home/me/data/{f}',t) for f,t in zip(FILES,TEXT)]), [f'images/{f}' for f in FILES]).notes!=[]
    assert beside(csv('path,label',rows=[(f'/home/me/data/{f}',t) for f,t in zip(FILES,TEXT)]), [f'data/{f}' for f in FILES]).notes==[]

def test_rows_that_repeat_an_image():
    m = beside(csv(rows=[*zip(FILES,TEXT),*zip(FILES[:2],TEXT)]))
    assert labels(m)==TEXT and any('2 rows repeat an image' in o for o in m.notes)
    for twice in (FILES[0],'g000'):
        with pytest.raises(ValueError, match="must name each file once, got 'g000.png' twice") as e: beside(csv(rows=[*zip(FILES,TEXT),(twice,'edge')]))
        sentence(e)

def test_ids_that_lost_digits():
    names = [f'{o}.jpg' for o in T['objid']]
    for o in (pd.DataFrame(dict(objid=T['objid'].astype(float)*1., label=TEXT)), csv('objid,label',rows=[('1.23764872069376E+18',t) for t in TEXT]).encode()):
        with pytest.raises(ValueError, match='has lost its last digits: read, or save, that column as text') as e: match_labels(names, labels=o if isinstance(o,pd.DataFrame) else None, tables=[] if isinstance(o,pd.DataFrame) else [('labels.csv',o)])
        sentence(e)

def test_rows_and_images_without_each_other():
    m = beside(csv(rows=[('x.png','round'),*zip(FILES[:50],TEXT)]))
    assert m.skipped==[('x.png','is in labels.csv but not among the files')] and '10 of 60 images have no row in labels.csv' in m.notes
    assert labels(m)==TEXT[:50]+[None]*10
    m = match_labels(FILES, labels=pd.DataFrame(dict(file=['x',*FILES], label=['round',*TEXT])))
    assert m.skipped==[('x','is in the table of labels but not among the files')]

def test_a_class_that_only_rows_without_an_image_have():
    m = beside(csv(rows=[('x.png','nobody'),*zip(FILES,TEXT)]))
    assert m.classes==['disk','edge','round']

def test_nothing_matches():
    with pytest.raises(ValueError, match="names none of the 60 images there: its first row is 'q' in column `file`, the first image is 'g000.png'") as e: beside('file,label\nq,S\nr,E')
    sentence(e)

def test_tables_in_several_folders():
    names = [f'{s}/{i}.png' for s in ('train','test') for i in range(4)]
    tables = [(f'{s}/labels.csv', b'file,label\n'+b''.join(f'{i}.png,{s}{i%2}\n'.encode() for i in range(4))) for s in ('train','test')]
    m = match_labels(names, tables)
    assert m.names==names and [m.classes[y] for y in m.labels]==[f'{s}{i%2}' for s in ('train','test') for i in range(4)] and m.skipped==[]
    m = match_labels(FILES, [('labels.csv',csv().encode()),('metadata.csv',csv('id,ra,dec',rows=[(f[:-4],i,2) for i,f in enumerate(FILES)]).encode())])
    assert labels(m)==TEXT and m.table.ra.tolist()==list(range(N))
    m = match_labels(FILES, [('labels.csv',csv().encode()),('metadata.csv',b'key,value\na,b\n')])
    assert labels(m)==TEXT and m.skipped[0][0]=='metadata.csv' and 'is not used: survey: metadata.csv names none of the 60 images' in m.skipped[0][1]
    with pytest.raises(ValueError, match="'g000.png' has the labels 'round' and 'disk' in several tables"): match_labels(FILES, [('labels.csv',csv().encode()),('metadata.csv',b'file,label\ng000.png,disk\n')])

def test_a_table_that_is_given_beats_the_one_beside():
    m = match_labels(FILES, [('labels.csv',csv('file,label,ra,dec',rows=[(f,'x',1,2) for f in FILES]).encode())], labels=dict(zip(FILES,TEXT)))
    assert labels(m)==TEXT and m.table.ra.tolist()==[1]*N and any('labels come from the table of labels' in o for o in m.notes)

def test_votes_without_regard_to_case():
    cols = [f'{o}_weighted_fraction' for o in dict.fromkeys(o for way in GZ2_RULE for o in way)]
    v = pd.DataFrame(0., index=range(2), columns=[o.upper() for o in cols])
    v.loc[0,[c for c in v if 'A01' in c or 'A16' in c]] = 1.
    v['DR7OBJID'] = [587722952767439450,587722952767439451]
    m = match_labels(['587722952767439451.jpg','587722952767439450.jpg'], labels=v)
    assert m.labels.tolist()==[1,-1] and m.classes==list(CLASSES['sdss']) and m.names[0]=='587722952767439450.jpg'

def test_order_by_label_id():
    m = beside(csv('file,Class,Label_ID',rows=[(f,t,K.index(t)) for f,t in zip(FILES,TEXT)]))
    assert m.classes==K and labels(m)==TEXT

# ---------------------------------------------------------------- folders

@pytest.mark.parametrize('names,expected,note', [
    (['S/1.jpg','E/2.jpg'],['S','E'],None), (['data/S/1.jpg','data/E/2.jpg'],['S','E'],'below data'), (['train/S/1.jpg','val/E/2.jpg','test/S/3.jpg'],['S','E','S'],'are not kept: make_splits'),
    (['Train/S/1.jpg','TEST/E/2.jpg'],['S','E'],'are not kept: make_splits'), (['gz/training/S/1.jpg','gz/validation/E/2.jpg'],['S','E'],'below gz/training, gz/validation'), (['train/S/1.jpg','train/E/2.jpg'],['S','E'],'train'),
    (['S/f0/1.jpg','E/f1/2.jpg','S/f1/3.jpg'],['S','E','S'],"folders below the classes, such as S/f0, are not classes: labels='folders/2'"), (['S/train/1.jpg','E/test/2.jpg'],['S','E'],'are not classes'), (['S/1.jpg','E/2.jpg','3.jpg'],['S','E',None],'1 image is in no class folder'),
    (['S/1.jpg','E/2.jpg','unlabelled/3.jpg'],['S','E',None],'no label'), (['train/S/1.jpg','test/E/2.jpg','unlabeled/3.jpg'],['S','E',None],'no label'), (['S/1.jpg','E/2.jpg','Unlabelled/S/3.jpg'],['S','E',None],'no label'),
    (['train/S/1.jpg','test/E/2.jpg','train/3.jpg'],['S','E',None],'no label'), (['my round/1.jpg','e\u0301/2.jpg','\xe9/3.jpg'],['my round','\xe9','\xe9'],None)])
def test_folders(names, expected, note):
    for how in ('folders','FOLDERS','Folders'):
        m = match_labels(names, labels=how)
        assert [m.classes[y] if y>=0 else None for y in m.labels]==expected and m.names==names
        assert (note is None and m.notes==[]) or note in ' '.join(m.notes)

def test_levels_of_folders():
    names = ['S/f0/1.jpg','E/f1/2.jpg','S/f1/3.jpg']
    assert match_labels(names, labels='folders/2').labels.tolist()==[0,1,1] and folder_labels(names, level=2)[1]==['f0','f1']
    for bad in ('folders/3','folders/0'):
        with pytest.raises(ValueError, match='folder'): match_labels(names, labels=bad)

@pytest.mark.parametrize('names,got', [(['1.jpg','2.jpg'],'no folder'), (['S/1.jpg','S/2.jpg'],'S'), (['train/1.jpg','test/2.jpg'],'test, train'), (['unlabelled/1.jpg'],'no folder')])
def test_folders_that_are_no_classes(names, got):
    with pytest.raises(ValueError, match=f"labels='folders' needs a folder for each class, got {got}") as e: match_labels(names, labels='folders')
    sentence(e)

def test_no_table_names_the_ways():
    with pytest.raises(ValueError, match=r"survey holds no labels.csv.*labels='folders' for the classes E, S \(papermill: -p labels folders; command line: --labels folders\), or `labelled=False`") as e: match_labels(['S/1.jpg','E/2.jpg'])
    sentence(e)
    with pytest.raises(ValueError, match="or catalog.csv as `labels`") as e: match_labels(FILES, [('catalog.csv',None)])
    sentence(e)
    with pytest.raises(ValueError) as e: match_labels(FILES)
    assert 'folders' not in sentence(e)
    assert "labels='folders' takes the folders E, S" in match_labels(['S/1.jpg','E/2.jpg'], labelled=None).notes[0]

def test_folders_with_a_table_for_the_rest():
    m = match_labels(['S/1.jpg','E/2.jpg'], [('labels.csv',b'file,ra,dec\n1,10,20\n')], labels='folders')
    assert dict(zip(m.names,[m.classes[y] for y in m.labels]))=={'S/1.jpg':'S','E/2.jpg':'E'} and m.table.ra.tolist()[0]==10

# ---------------------------------------------------------------- positions

RA = 150+(np.arange(N)//2)*.01
DEC = np.full(N, 2.5)
hms = Angle(RA,'deg').to_string('hourangle', sep=':', precision=3)
sexa = lambda sep: (Angle(RA,'deg').to_string('hourangle', sep=sep, precision=3), Angle(DEC,'deg').to_string('deg', sep=sep, alwayssign=True, precision=2))
PAIRS = ['ra,dec','RA,DEC','Ra,Dec','RAJ2000,DEJ2000','_RAJ2000,_DEJ2000','RA_J2000,DEC_J2000','raj2000,decj2000','_RA,_DE','ra_1,dec_1','RA_deg,DEC_deg','RA (deg),Dec (deg)','radeg,decdeg','right_ascension,declination','Right Ascension,Declination','ALPHA_J2000,DELTA_J2000',
    'alpha,delta','RA_ICRS,DE_ICRS','target_ra,target_dec','TARGET_RA,TARGET_DEC','objra,objdec','ra2000,dec2000','PLUG_RA,PLUG_DEC','raMean,decMean','raStack,decStack','ra_gal,dec_gal','ra,DE','RA,Decl','RA_deg,DEC','ra_hms,dec_dms','fiber_ra,fiber_dec']
@pytest.mark.parametrize('pair', PAIRS)
@pytest.mark.parametrize('text', [False,True])
def test_names_of_positions(pair, text):
    a,b = pair.split(',')
    t = pd.DataFrame({'file':FILES, a:RA.astype(str) if text else RA, b:DEC.astype(str) if text else DEC})
    out,notes = with_positions(t)
    assert np.allclose(out.ra, RA) and np.allclose(out.dec, DEC) and out.ra.dtype==float and has_positions(t)
    assert len(match_positions(t, t, 1.))==2*N and (notes==[])==(pair=='ra,dec')

@pytest.mark.parametrize('ra,dec', [sexa(':'), sexa(' '), (Angle(RA,'deg').to_string('hourangle', precision=3), Angle(DEC,'deg').to_string('deg', precision=2)), (Angle(RA,'deg').to_string('deg', precision=3), Angle(DEC,'deg').to_string('deg', precision=2)),
    ([f'{o:.4f}d' for o in RA], [f'{o}d' for o in DEC]), ([f'{o:.4f} deg' for o in RA], [f'{o} deg' for o in DEC]), ([f'{o/15:.8f}h' for o in RA], [f'{o}°' for o in DEC]), (hms, DEC), (RA-360, DEC), ([f'{o:.4f}'.replace('.',',') for o in RA], ['2,5']*N)])
def test_forms_of_positions(ra, dec):
    t = pd.DataFrame({'ra':ra, 'dec':dec})
    out,_ = with_positions(t)
    assert np.allclose(out.ra, RA, atol=1e-4) and np.allclose(out.dec, DEC, atol=1e-4)
    assert len(match_positions(t, t, 1.))==2*N

def test_south_and_zero():
    assert with_positions(pd.DataFrame(dict(ra=['00:00:01'],dec=['-00:30:00'])))[0].dec[0]==-.5
    assert with_positions(pd.DataFrame(dict(ra=['0','10'],dec=['0','10'])))[0].ra.tolist()==[0,10]

@pytest.mark.parametrize('bad', [-999,-9999,-99,-9,999,9999,99,np.nan,'','NaN','--','None',np.inf,1e30])
@pytest.mark.parametrize('name', ['ra,dec','RAJ2000,DEJ2000'])
def test_no_position(bad, name):
    a,b = name.split(',')
    t = pd.DataFrame({a:[bad if i in (3,7) else o for i,o in enumerate(RA)], b:[bad if i in (3,7) else o for i,o in enumerate(DEC)]})
    out,notes = with_positions(t)
    gone = np.isin(np.arange(N),(3,7))
    assert (out.ra.isna()==gone).all() and (out.dec.isna()==gone).all() and np.allclose(out.ra[~gone], RA[~gone])
    said = any('2 positions are' in o for o in notes)
    assert said==(isinstance(bad,(int,float)) and bad==bad)

def test_half_a_position_is_none():
    out,_ = with_positions(pd.DataFrame(dict(ra=[1.,np.nan,3.],dec=[1.,2.,-99.])))
    assert out.ra.notna().tolist()==[True,False,False]

def test_columns_of_pandas_own_types():
    t = pd.DataFrame(dict(ra=pd.array([150,None],dtype='Int64'), dec=pd.array([2.5,None],dtype='Float64')))
    assert with_positions(t)[0].ra.tolist()[0]==150 and len(match_positions(t, t))==1

def test_in_range_nines_are_positions(): assert with_positions(pd.DataFrame(dict(ra=[99.,9.,351.],dec=[-9.,9.,-9.])))[0].dec.tolist()==[-9,9,-9]

def test_out_of_range():
    t = pd.DataFrame(dict(ra=[400.,10.],dec=[0.,0.]))
    assert any('out of range, the first is 400, 0' in o for o in with_positions(t)[1])
    with pytest.raises(ValueError, match='must be `ra` in 0 to 360 and `dec` in -90 to 90 degrees, got 400, 0'): match_positions(t, t)

@pytest.mark.parametrize('t,note', [(dict(glon=[1.],glat=[2.]),'`glon` and `glat` look like positions and are not used'), (dict(l=[1.],b=[2.]),'`l` and `b`'), (dict(elon=[1.],elat=[2.]),'`elon` and `elat`'), (dict(ra=[1.],z=[2.]),'`ra` looks like half a position'),
    (dict(RAJ2000=[1.]),'`RAJ2000` looks like half'), (dict(ra=['here'],dec=['there']),"`ra` holds 'here', which is not an angle"), (dict(ra=[1.,5.],dec=[2.,6.],ra_2=[3.,7.],dec_2=[4.,8.]),'other positions are not used: `ra_2` and `dec_2`'), (dict(lon=[1.],lat=[2.]),'`lon` and `lat`'), (dict(RA=['-'],DEC=['-']),'`RA` and `DEC` hold no position'), (dict(coord=['150 2']),'`coord` looks like a position'),
    (dict(ra=np.linspace(0,23.9,50),dec=np.zeros(50)+1),'name it ra_hours if these are hours'), (dict(ra=['x',*RA[1:]],dec=DEC),"`ra` holds 'x', which is not an angle")])
def test_what_is_not_used_is_said(t, note): assert any(note in o for o in with_positions(pd.DataFrame(t))[1])

@pytest.mark.parametrize('cols', ['e_RAJ2000,e_DEJ2000','ra_err,dec_err','pmra,pmdec','ra_error,dec_error','RA_IVAR,DEC_IVAR','sigra,sigdec','fracdev_ra,x','camera,cadec','RAB1950,DEB1950'])
def test_what_is_no_position(cols):
    t = pd.DataFrame({c:[1.,2.] for c in cols.split(',')})
    assert not has_positions(t) and list(with_positions(t)[0])==list(t)

def test_plain_degrees_stay():
    t = pd.DataFrame(dict(ra=[150.,np.nan],dec=[2.,np.nan]))
    assert with_positions(t)[0] is t and with_positions(t)[1]==[]
    out,_ = with_positions(pd.DataFrame(dict(RA=['10:00:00'],DEC=['+2:0:0'])))
    assert with_positions(out)[0] is out and with_positions(out)[1][1:]==[]

def test_angles_with_units_and_coordinates():
    t = QTable(dict(file=['a','b'], sky=SkyCoord([150,151]*u.deg,[2,3]*u.deg)))
    assert match_labels(['a.jpg','b.jpg'], labels=t, labelled=False).table.ra.tolist()==[150,151]
    t = QTable(dict(file=['a','b'], RA=[10,11]*u.hourangle, DEC=[2,3]*u.deg))
    assert np.allclose(match_labels(['a.jpg','b.jpg'], labels=t, labelled=False).table.ra, [150,165])
    t = Table(dict(RA=[1.],DEC=[.5])); t['RA'].unit = t['DEC'].unit = u.rad
    assert np.allclose(with_positions(read_table(t))[0][['ra','dec']], np.rad2deg([1,.5]))
    m = match_positions(QTable(dict(sky=SkyCoord([150]*u.deg,[2]*u.deg))), pd.DataFrame(dict(ra=['10h0m0s'],dec=['2d0m0s'])))
    assert len(m)==1

def test_positions_in_the_table_of_a_survey():
    m = beside(csv('file,label,RA,DEC', rows=[(f,t,a,b) for f,t,a,b in zip(FILES,TEXT,hms,DEC)]))
    assert np.allclose(m.table.ra, RA, atol=1e-4) and any('positions from `RA` (hours, minutes and seconds)' in o for o in m.notes)

# ---------------------------------------------------------------- through a survey

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    d = tmp_path_factory.mktemp('survey')
    rng = np.random.default_rng(0)
    for f in FILES: Image.fromarray(rng.integers(0,255,(16,16,3),dtype=np.uint8)).save(d/f)
    return d

def test_a_survey_with_a_table_of_any_kind(folder, tmp_path):
    from galaxy_ssl.data import get_survey
    df = pd.DataFrame({'File Name':FILES, 'CLASS':MISSING, 'RAJ2000':RA, 'DEJ2000':DEC})
    for fmt in ('fits','votable','ascii.ecsv'):
        (tmp_path/'l').write_bytes(write(Table.from_pandas(df.fillna('')), fmt))
        s = get_survey(folder, labels=tmp_path/'l')
        assert [s.classes[y] if y>=0 else None for y in s.labels]==MISSING and len(np.unique(s.groups))==N//2 and any('labels from the column `CLASS`' in o for o in s.notes)

def test_galaxy_zoo_2_as_it_comes(folder, tmp_path):
    from galaxy_ssl.data import get_survey, ingest
    v = pd.DataFrame(np.random.default_rng(0).random((N,15)), columns=[f'{o}_weighted_fraction' for o in dict.fromkeys(o for way in GZ2_RULE for o in way)])
    v.insert(0, 'asset_id', np.arange(100,100+N))
    with zipfile.ZipFile(tmp_path/'images_gz2.zip','w') as z:
        for i,f in enumerate(FILES): z.write(folder/f, f'images/{100+i}.png')
        z.writestr('__MACOSX/images/._100.jpg', b'x')
    v.to_csv(tmp_path/'votes.csv.gz', index=False)
    a = [get_survey(ingest(tmp_path/'images_gz2.zip', tmp_path/f'{i}.h5', crop=None, size=None, labels=o, threshold=0., check=False), labelled=None) for i,o in enumerate((v,tmp_path/'votes.csv.gz'))]
    assert all((s.labels>=0).all() and s.classes==list(CLASSES['sdss']) for s in a) and (a[0].labels==a[1].labels).all()

# ---------------------------------------------------------------- what a second look found

@pytest.mark.parametrize('bad', ['#VALUE!','#REF!','#DIV/0!','#NAME?','-99','-9999'])
def test_errors_of_a_spreadsheet_and_numbers_for_none_are_no_labels(bad):
    m = beside(csv(rows=[(f,bad if g else t) for f,t,g in zip(FILES,TEXT,GONE)]))
    assert labels(m)==MISSING and m.notes==[f"15 labels read {bad!r}: no label"]

@pytest.mark.parametrize('values,expected', [(pd.to_datetime(['2020-01-01','2020-01-02','2020-01-03'])[Y],['2020-01-01','2020-01-02','2020-01-03']),
    (pd.to_datetime(['2020-01-01 10:00','2020-01-02 10:00','2020-01-03 00:00'])[Y],['2020-01-01T10:00:00','2020-01-02T10:00:00','2020-01-03T00:00:00']),
    ([[t] for t in TEXT],K), (pd.to_timedelta(Y,'D'),['0 days 00:00:00','1 days 00:00:00','2 days 00:00:00']), (pd.Categorical(TEXT, categories=K[::-1]+['merger']),K), (Y>0,['False','True'])])
def test_labels_of_odd_types(values, expected):
    m = match_labels(FILES, labels=pd.DataFrame(dict(file=FILES,label=values)))
    assert sorted(m.classes)==sorted(expected) and (m.labels>=0).all() and labels(m)[0]==expected[0]

@pytest.mark.parametrize('col', ['gz2_class','subClass','Merger Label','visual_morphology','true category'])
def test_one_column_that_is_called_like_labels(col):
    m = beside(csv(f'file,class_star,{col}', rows=[(f,.5,t) for f,t in zip(FILES,TEXT)]))
    assert labels(m)==TEXT and m.notes==[f'labels.csv: labels from the column `{col}`']

@pytest.mark.parametrize('cols', ['label_coarse,label_fine','gz2_class,sdss_class','class_star,class_prob'])
def test_columns_that_may_be_labels_are_not_guessed(cols):
    with pytest.raises(ValueError, match=f'has no column of labels.*`label_column`, got file, {cols.replace(",",", ")}') as e: beside(csv(f'file,{cols}', rows=[(f,t,t) for f,t in zip(FILES,TEXT)]))
    sentence(e)

@pytest.mark.parametrize('cols', ['Class1.1,Class1.2','smooth-or-featured_smooth_fraction,smooth-or-featured_artifact_fraction','smooth-or-featured-gz2_smooth,smooth-or-featured-gz2_artifact','P_EL,P_CS','t01_smooth_votes,t01_disk_votes'])
def test_votes_of_another_form_say_what_to_do(cols):
    with pytest.raises(ValueError, match=f"votes such as `{cols.split(',')[0]}` become classes only as in Galaxy Zoo 2's catalogue: add a column `label`") as e: match_labels(FILES, [('t.csv',lambda: b'')], csv(f'file,{cols}', rows=[(f,.25,.7) for f in FILES]))
    sentence(e)

def test_the_given_table_is_no_way_on(tmp_path):
    (tmp_path/'t.csv').write_text(csv('file,x'))
    with pytest.raises(ValueError, match='t.csv has no column of labels') as e: match_labels(FILES, [('t.csv',lambda: b'')], tmp_path/'t.csv', where=str(tmp_path))
    assert 'as `labels`' not in sentence(e)

@pytest.mark.parametrize('head,n', [('Answer of NED\n\n',1), ('My galaxies,,\n,,\n',1), ('one\ntwo words\nthree\n\n\n',3)])
@pytest.mark.parametrize('sep', [',','|','\t',';'])
def test_lines_above_the_header(head, n, sep):
    m = beside(csv('No.,Object Name,class,z', sep, rows=[(i,f,t,.1) for i,(f,t) in enumerate(zip(FILES,TEXT))], head=head))
    assert labels(m)==TEXT and len(m.notes)==2 and 'above the header' in m.notes[0] and m.notes[1]=='labels.csv: labels from the column `class`'

def test_ids_as_a_formula_of_excel():
    ids = [f'{i:05}' for i in range(N)]
    m = beside(csv(rows=[(f'="{i}"',t) for i,t in zip(ids,TEXT)]), [f'{i}.jpg' for i in ids])
    assert [m.classes[y] for y in m.labels]==TEXT and m.skipped==[]

def test_rows_without_a_name_and_rows_that_contradict():
    assert beside(csv(rows=[*zip(FILES,TEXT),('','disk'),('nan','disk')])).skipped==[('labels.csv','2 rows name no file')]
    with pytest.raises(ValueError, match="must name each file once, got 'g000.png' twice, with the labels 'round' and 'edge'"): beside(csv(rows=[*zip(FILES,TEXT),(FILES[0],'edge')]))

@pytest.mark.parametrize('above', [['fold_1','fold_2'],['train_images','test_images'],['Train_set','Val_set'],['split0','split1'],['training','dev']])
def test_splits_above_the_classes(above):
    c = folder_labels([f'{above[i//30]}/{t}/{f}' for i,(f,t) in enumerate(zip(FILES,TEXT))])
    assert [c.classes[y] for y in c.labels]==TEXT and any('are not kept' in o for o in c.notes)

def test_folders_that_differ_by_case(): assert folder_labels(['S/1.jpg','s/2.jpg','E/3.jpg']).notes==['folders that differ only by case, spaces or dashes: S, s']

DESIGNATIONS = [f'J{Angle(10+i/1000,"hour").to_string("hourangle",sep="",pad=True,precision=2)}{"+-"[i%2]}023000.0' for i in range(N)]
@pytest.mark.parametrize('name', ['{}','SDSS {}','{}.png','cut/{}a.fits','{}_g'])
def test_positions_in_names(name):
    t,notes = with_positions(pd.DataFrame(dict(file=[name.format(o) for o in DESIGNATIONS])))
    assert np.allclose(t.ra, 150+np.arange(N)*.015, atol=1e-4) and np.allclose(t.dec, 2.5*(-1.)**np.arange(N)) and notes==['positions from the names in `file`']

@pytest.mark.parametrize('name', ['J1000+0200','J100000-020000','SDSS J100000+020000','J1000+0200.png'])
def test_rounded_positions_in_names_are_said(name):
    t,notes = with_positions(pd.DataFrame(dict(name=[name]*N)))
    assert 'ra' not in t and notes==['`name` holds rounded positions, which are not used: positions need two columns, `ra` and `dec`']

@pytest.mark.parametrize('name', ['0266-51602-0001','200101-123456','587722981736120347','g001.png','12345-6701'])
def test_names_that_are_no_positions(name): assert with_positions(pd.DataFrame(dict(name=[name]*N)))[1]==[]

@pytest.mark.parametrize('ra,dec,note', [(np.linspace(0,6.2,N),np.linspace(-1.5,1.5,N),'name them ra_rad and dec_rad if these are radians'), (np.linspace(0,23.9,N),np.linspace(-60,60,N),'name it ra_hours if these are hours'),
    (np.linspace(-60,60,N),np.linspace(0,300,N),'are they swapped?')])
def test_doubts_about_positions_are_said(ra, dec, note): assert any(note in o for o in with_positions(pd.DataFrame(dict(ra=ra,dec=dec)))[1])

def test_positions_in_greek_and_of_1950():
    assert with_positions(pd.DataFrame({'α':[10.],'δ':[2.]}))[0][['ra','dec']].values.tolist()==[[10,2]]
    assert with_positions(pd.DataFrame(dict(RAB1950=[10.],DEB1950=[2.])))[1]==['`RAB1950` and `DEB1950`, of 1950, are not used: positions need two columns, `ra` and `dec`']

@pytest.mark.parametrize('ra,dec', [(10*u.hourangle,7200*u.arcsec), (150*u.deg,120*u.arcmin), (np.deg2rad(150)*u.rad,2*u.deg), (150*3600*u.arcsec,7.2e6*u.mas)])
def test_units_of_positions(ra, dec):
    t,_ = with_positions(read_table(QTable(dict(file=['a','b'], RA=[ra.value]*2*ra.unit, DEC=[dec.value]*2*dec.unit, size=[3,4]*u.arcsec))))
    assert np.allclose(t[['ra','dec']], [[150,2]]*2) and t['size'].tolist()==['3','4']
