"""CSV files of labels: every form that people save them in, and each mistake refused with the file and the line."""

import hashlib
import os

import pytest
from PIL import Image

from udal_tf.data import label_files
from udal_tf.data.errors import DataError

IMAGES = ("a.png", "b.png", "sub/c.png", "with, comma.png", "日本.png")
CONTENT = 'file,label,split\na.png,cat,\n"with, comma.png","dog ""big""",test\nsub/c.png,,train\n日本.png, cat ,val\n'


@pytest.fixture
def root(tmp_path):
    (tmp_path / "images" / "sub").mkdir(parents=True)
    for name in IMAGES:
        Image.new("RGB", (4, 4)).save(tmp_path / "images" / name)
    return tmp_path / "images"


def read(root, content, **given):
    """The rows of a CSV file beside the images, as (name below root, label, split, line), and the table."""
    file = root.parent / "labels.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    table = label_files.read(file, root, **given)
    return [(str(row.path.relative_to(root)), row.label, row.split, row.line) for row in table.rows], table


def refused(root, content):
    """The refusal of a CSV file, without the name of the folder."""
    with pytest.raises(DataError) as raised:
        read(root, content)
    return str(raised.value).replace(f"{root.parent}/", "")


@pytest.mark.parametrize(
    "content",
    [
        CONTENT,
        CONTENT.encode("utf-8-sig"),
        CONTENT.replace("\n", "\r\n"),
        CONTENT.replace("\n", "\r"),
        CONTENT.removesuffix("\n"),
        # As spreadsheets write it where the comma is a decimal point; and with tabs.
        CONTENT.replace("with, comma", "with§ comma").replace(",", ";").replace("§", ","),
        CONTENT.replace("with, comma", "with§ comma").replace(",", "\t").replace("§", ","),
        CONTENT.replace("file,label", '"File","LABEL"'),
        CONTENT.replace("a.png,cat,", "./sub/../a.png, cat, "),
    ],
)
def test_every_usual_form_of_csv_gives_the_same_rows(root, content):
    rows, table = read(root, content)
    assert rows == [
        ("a.png", "cat", "train", 2),
        ("with, comma.png", 'dog "big"', "test", 3),
        ("sub/c.png", "", "train", 4),
        ("日本.png", "cat", "val", 5),
    ]
    assert table.has_split and table.notes == ()


def test_columns_come_in_any_order_and_lines_are_counted_through_quoted_breaks_and_empty_lines(root):
    content = 'label,note,file_name\n\ncat,"two\nlines",a.png\ndog,,b.png\ncat,,./a.png\n'
    rows, table = read(root, content)
    assert rows == [("a.png", "cat", "train", 3), ("b.png", "dog", "train", 5)]
    assert table.notes == ("labels.csv: 1 repeated lines, used once", "labels.csv: columns not used: note")
    assert [row[2] for row in read(root, content, split="test")[0]] == ["test", "test"]


def test_absolute_names_may_be_anywhere(root, tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "elsewhere.png")
    _, table = read(root, "file,label\nb.png,dog\n", split="train")
    file = root.parent / "absolute.csv"
    file.write_text(f"file,label\n{tmp_path / 'elsewhere.png'},cat\nb.png,dog\n")
    other = label_files.read(file, root)
    assert [row.path for row in other.rows] == [tmp_path / "elsewhere.png", root / "b.png"]
    # As `sha256sum` prints it.
    assert table.sha256 == hashlib.sha256(b"file,label\nb.png,dog\n").hexdigest() != other.sha256


@pytest.mark.parametrize(
    "content, words",
    [
        ("", "labels.csv, line 1: no column file and no column label, but nothing.\nExpected: a first line file,label"),
        ("a.png,cat\nb.png,dog\n", "labels.csv, line 1: no column file and no column label, but a.png, cat.\nExpected"),
        ("file,class\na.png,cat\n", "labels.csv, line 1: no column label, but file, class.\nExpected"),
        ("file|label\na.png|cat\n", "labels.csv, line 1: no column file and no column label, but file|label.\n"),
        ("file,label,Label\na.png,a,b\n", "labels.csv, line 1: two columns label"),
        # Without this, every image would be trained on.
        ("file,label,splits\na.png,cat,test\n", "labels.csv, line 1: column splits: did you mean split? Rename or rem"),
        ("file,label\n\n", "labels.csv: no images after the first line.\nExpected"),
        ("file,label\na.png\n", "labels.csv, line 2: 1 fields, but the first line has 2"),
        ("file,label\nwith, comma.png,dog\n", "line 2: 3 fields, but the first line has 2: put a name that holds th"),
        ("file,label\n,cat\n", "labels.csv, line 2: no file"),
        ("file,label\na.png,cat\nnone.png,cat\nnor.png,\n", "line 3: images/none.png: does not exist (and 1 more fi"),
        ("file,label\nsub\\c.png,cat\n", "line 2: images/sub\\c.png: does not exist; separate folders by /"),
        ("file,label\nsub,cat\n", "labels.csv, line 2: images/sub is a folder, not a file"),
        ("file,label\n../labels.csv,cat\n", "line 2: ../labels.csv leads out of images: write the absolute name"),
        ("file,label\na.png,cat\n./a.png,dog\n", "labels.csv, line 3: images/a.png has the label dog, and cat in li"),
        ("file,label\na.png,cat\na.png,\n", "labels.csv, line 3: images/a.png has the label none, and cat in line 2"),
        ("file,label,split\na.png,cat,test\na.png,cat,\n", "line 3: images/a.png has the split train, and test in l"),
        ("file,label,split\na.png,cat,Tset\n", "line 2: split must be one of train, val, test, got Tset; did you me"),
        ("file,label,split\na.png,cat,holdout\n", "labels.csv, line 2: split must be one of train, val, test, got h"),
        ("file,label,split\na.png,,test\n", "labels.csv, line 2: an image of split test needs a label, a.png has none"),
        ('file,label\na.png,"c\nat"\n', "labels.csv, line 2: the label c\\nat has a line break or another control c"),
        ('file,label\na.png,cat\nb.png,"dog\n', "labels.csv, line 3: is not CSV: unexpected end of data"),
        ("file,label\na.png,cat\n".encode("utf-16"), "labels.csv, line 1: is UTF-16: save it as CSV in UTF-8"),
        ("file,label\na.png,Kätzchen\n".encode("latin-1"), "labels.csv, line 2: is not UTF-8: save it as CSV in UTF-8"),
        (b"file,label\na.png,\0\n", "labels.csv, line 2: holds a NUL character: is it a CSV file?"),
    ],
)  # fmt: skip
def test_each_mistake_is_named_with_its_line(root, content, words):
    assert words in refused(root, content)


def test_what_is_no_image_is_refused(root):
    (root / "notes.txt").write_text("x")
    (root / "a.svg").write_text("x")
    os.mkfifo(root / "pipe.png")
    assert "line 2: images/notes.txt is not read: not an image by its suffix" in refused(
        root, "file,label\nnotes.txt,a\n"
    )
    assert "images/a.svg is not read: not a format that is read: convert" in refused(root, "file,label\na.svg,a\n")
    assert "images/pipe.png is a pipe or device, not a file" in refused(root, "file,label\npipe.png,a\n")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"labels\.csv cannot be read: No such file"):
        label_files.read(tmp_path / "labels.csv", tmp_path)


def test_a_class_without_an_image_to_train_on_is_named_with_its_line(root):
    content = "file,label,split\na.png,cat,train\nb.png,Cats,test\n"
    table = read(root, content)[1]
    with pytest.raises(
        DataError, match=r"labels\.csv, line 3: class Cats is in split test, but no image of split train"
    ):
        label_files.check_classes(table.rows)
