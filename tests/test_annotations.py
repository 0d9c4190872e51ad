"""One annotation table from Raven, Audacity and CSV, whatever wrote them, and back without loss."""
import codecs

import numpy as np
import pandas as pd
import pytest

from preprocessing.annotations import BadAnnotation, empty_annotations, raven_table, read_annotations, write_audacity, write_csv, write_raven
from preprocessing.recordings import RecordingIndex, describe, list_recordings
from preprocessing.text_table import TYPES
from tests.signals import white_noise, write

HEADER = ["Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)", "Begin File", "File Offset (s)", "Label", "Observateur", "Remarque"]
ROWS = [["1", "Spectrogram 1", "1", "12.500000000", "13.250000001", "5000.0", "9000.5", "a.wav", "12.500000000", "Sifflé", "Zoé", 'sûr, "très" net'],
        ["2", "Spectrogram 1", "2", "61.000000000", "61.125000000", "20000.0", "88000.0", "b.wav", "1.000000000", "HFPC", "Zoé", ""],
        ["7", "Spectrogram 1", "1", "125.000000000", "125.000000000", "100.0", "200.0", "c.wav", "5.000000000", "écho ", "", "007"]]
SEQUENCE = pd.DataFrame({"recording": ["a.wav", "b.wav", "c.wav"], "duration_s": [60.0, 60.0, 30.0]})
OURS = ["recording", "channel", "start_s", "end_s", "low_hz", "high_hz", "label"]


def text_of(rows, header=HEADER, end="\r\n"):
    return "".join("\t".join(row) + end for row in [header, *rows])


def without(rows, *columns):
    keep = [k for k, name in enumerate(HEADER) if name not in columns]
    return [HEADER[k] for k in keep], [[row[k] for k in keep] for row in rows]


def file(folder, text, name="s.Table.1.selections.txt", encoding="utf-8"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def same(a, b, but=("source", "line")):
    pd.testing.assert_frame_equal(a.drop(columns=list(but)), b.drop(columns=list(but)), check_exact=True)


def read_row(folder, **changed):
    """A table of one row with some of its cells changed."""
    row = [changed.get(name, cell) for name, cell in zip(HEADER, ROWS[0])]
    return read_annotations(file(folder, text_of([row])), recordings=SEQUENCE)


# --- Raven ---

@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_a_table_over_several_files_in_any_encoding_and_with_any_line_end(tmp_path, encoding, end):
    table = read_annotations(file(tmp_path, text_of(ROWS, end=end), encoding=encoding), annotator="Ann")
    assert list(table) == [*TYPES, "Selection", "View", "Observateur", "Remarque"]
    assert table[OURS].to_numpy(object).tolist() == [["a.wav", 0, 12.5, 13.250000001, 5000.0, 9000.5, "Sifflé"], ["b.wav", 1, 1.0, 1.125, 20000.0, 88000.0, "HFPC"],
                                                     ["c.wav", 0, 5.0, 5.0, 100.0, 200.0, "écho "]]
    assert table["line"].tolist() == [2, 3, 4] and set(table["source"]) == {str(tmp_path / "s.Table.1.selections.txt")} and set(table["annotator"]) == {"Ann"}
    assert table["Remarque"].tolist() == ['sûr, "très" net', "", "007"] and table["Selection"].tolist() == ["1", "2", "7"]


def test_a_raven_table_round_trips_without_loss(tmp_path):
    source = file(tmp_path, text_of(ROWS), encoding="utf-16")
    table = read_annotations(source, recordings=SEQUENCE)
    written = write_raven(table, tmp_path / "back.txt", SEQUENCE)
    same(read_annotations(written, recordings=SEQUENCE), table)
    same(read_annotations(written), table)  # File Offset needs no recordings
    assert written.read_bytes() == write_raven(read_annotations(written), tmp_path / "again.txt", SEQUENCE).read_bytes()
    before, after = (pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, quoting=3, encoding=code) for path, code in ((source, "utf-16"), (written, "utf-8")))
    pd.testing.assert_frame_equal(after[before.columns], before)  # and every cell is as Raven wrote it


def test_a_table_without_rows_has_its_columns_and_types_and_round_trips(tmp_path):
    for name, text in (("r.txt", text_of([])), ("labels.txt", ""), ("c.csv", "file,start,end,label\n")):
        table = read_annotations(file(tmp_path, text, name))
        assert len(table) == 0 and table[list(TYPES)].dtypes.equals(empty_annotations().dtypes)
    for write_it, name in ((write_raven, "e.txt"), (write_audacity, "f.txt"), (write_csv, "g.csv")):
        again = read_annotations(write_it(empty_annotations(), tmp_path / name))
        assert len(again) == 0 and again[list(TYPES)].dtypes.equals(empty_annotations().dtypes)


def test_without_file_offset_the_durations_tell_the_file(tmp_path):
    expected = read_annotations(file(tmp_path, text_of(ROWS)))
    for dropped, name in ((("File Offset (s)",), "all.txt"), (("File Offset (s)", "Begin File"), "all.txt"), (("File Offset (s)", "Begin File"), "a.Table.1.selections.txt")):
        header, rows = without(ROWS, *dropped)
        path = file(tmp_path, text_of(rows, header), name)
        same(read_annotations(path, recordings=SEQUENCE), expected)
        if len(dropped) == 1:
            with pytest.raises(BadAnnotation, match="all.txt: its times count over several files .* give `recordings`"):
                read_annotations(path)


def test_a_table_named_after_a_recording_begins_with_it(tmp_path):
    header, rows = without(ROWS, "File Offset (s)", "Begin File")
    table = read_annotations(file(tmp_path, text_of(rows[:1], header), "b.Table.1.selections.txt"), recordings=SEQUENCE)
    assert (table.loc[0, "recording"], table.loc[0, "start_s"]) == ("b.wav", 12.5)
    table = read_annotations(file(tmp_path, text_of(rows[1:2], header), "b.Table.1.selections.txt"), recordings=SEQUENCE)
    assert (table.loc[0, "recording"], table.loc[0, "start_s"]) == ("c.wav", 1.0)  # 61 s after b's start
    with pytest.raises(BadAnnotation, match=r"line 2: begins at 125 s, after the end of the last recording, c.wav"):
        read_annotations(file(tmp_path, text_of(rows[2:], header), "b.Table.1.selections.txt"), recordings=SEQUENCE)


def test_begin_files_decide_where_a_sequence_began_and_an_open_question_is_an_error(tmp_path):
    header, rows = without(ROWS, "File Offset (s)")
    alone = [["1", "Spectrogram 1", "1", "12.5", "13", "5000", "9000", "b.wav", "x", "", ""]]
    assert read_annotations(file(tmp_path, text_of(alone, header), "t.txt"), recordings=SEQUENCE).loc[0, "start_s"] == 12.5
    uneven = SEQUENCE.assign(duration_s=[5.0, 60.0, 30.0])  # 12.5 s may lie in b.wav opened alone, or after a.wav
    with pytest.raises(BadAnnotation, match="may begin with a.wav or b.wav; name the table after its first file"):
        read_annotations(file(tmp_path, text_of(alone, header), "t.txt"), recordings=uneven)
    assert read_annotations(file(tmp_path, text_of(alone, header), "b.Table.1.selections.txt"), recordings=uneven).loc[0, "start_s"] == 12.5
    assert read_annotations(file(tmp_path, text_of(alone, header), "a.Table.1.selections.txt"), recordings=uneven).loc[0, "start_s"] == 7.5


def test_a_selection_across_the_end_of_its_file_is_cut_in_two(tmp_path):
    across = [*ROWS[:1], ["2", "Spectrogram 1", "1", "59.5", "61.25", "100", "200", "a.wav", "59.5", "long", "", "n"], ["3", "Spectrogram 1", "1", "61", "62", "1", "2", "b.wav", "1", "x", "", ""]]
    table = read_annotations(file(tmp_path, text_of(across)), recordings=SEQUENCE)
    assert table[["recording", "start_s", "end_s", "label", "line", "Remarque"]].to_numpy(object).tolist()[1:3] == [["a.wav", 59.5, 60.0, "long", 3, "n"], ["b.wav", 0.0, 1.25, "long", 3, "n"]]
    assert table["Selection"].tolist() == ["1", "2", "2", "3"] and table.attrs["notes"] == []
    back = read_annotations(write_raven(table, tmp_path / "back.txt", SEQUENCE), recordings=SEQUENCE)
    same(back, table, but=("source", "line", "Selection"))
    assert back["Selection"].tolist() == ["1", "2", "4", "3"]  # one number twice would be two views of one selection
    through = [["1", "Spectrogram 1", "1", "59", "121", "100", "200", "a.wav", "59", "boat", "", ""], ["2", "Spectrogram 1", "1", "149", "155", "1", "2", "c.wav", "29", "end", "", ""]]
    table = read_annotations(file(tmp_path, text_of(through)), recordings=SEQUENCE)
    assert table[["recording", "start_s", "end_s"]].to_numpy(object).tolist() == [["a.wav", 59.0, 60.0], ["b.wav", 0.0, 60.0], ["c.wav", 0.0, 1.0], ["c.wav", 29.0, 30.0]]
    assert "line 3: runs 5.000 s past the end of c.wav; clipped" in table.attrs["notes"][0]


def test_in_a_file_opened_alone_it_is_clipped_and_a_rounding_is_not_worth_a_word(tmp_path):
    alone = [["1", "Spectrogram 1", "1", "59.5", "60.7", "100", "200", "b.wav", "59.5", "x", "", ""], ["2", "Spectrogram 1", "1", "58", "60.0004", "100", "200", "b.wav", "58", "x", "", ""]]
    table = read_annotations(file(tmp_path, text_of(alone)), recordings=SEQUENCE)
    assert table["recording"].tolist() == ["b.wav", "b.wav"] and table["end_s"].tolist() == [60.0, 60.0]
    assert len(table.attrs["notes"]) == 1 and "line 2: runs 0.700 s past the end of b.wav; clipped" in table.attrs["notes"][0]


def test_of_several_views_of_a_selection_the_spectrogram_is_kept(tmp_path):
    views = [[row[0], view, row[2], *row[3:]] for row in ROWS for view in ("Waveform 1", "Spectrogram 1")]
    views.append(["9", "Waveform 1", *ROWS[0][2:]])  # seen only as a waveform
    table = read_annotations(file(tmp_path, text_of(views)))
    assert table["View"].tolist() == ["Spectrogram 1"] * 3 + ["Waveform 1"] and table["line"].tolist() == [3, 5, 7, 8]
    assert "3 rows show a selection in a second view" in table.attrs["notes"][0]
    header, unnumbered = without(views, "Selection")
    assert read_annotations(file(tmp_path, text_of(unnumbered, header)))["View"].tolist() == ["Spectrogram 1"] * 3  # times alone tell it
    twice = read_annotations(file(tmp_path, text_of([ROWS[0], ROWS[0]])))
    assert len(twice) == 2 and twice.attrs["notes"] == []  # the same row twice is for the quality report


@pytest.mark.parametrize("changed, fault", [
    ({"End Time (s)": "later"}, "'End Time \\(s\\)' is 'later', not a number; correct it"),
    ({"Begin Time (s)": ""}, "'Begin Time \\(s\\)' is blank"),
    ({"File Offset (s)": "inf"}, "'File Offset \\(s\\)' is 'inf', not a number"),
    ({"End Time (s)": "12.4"}, "ends before it begins"),
    ({"Low Freq (Hz)": "9001"}, "its low frequency lies above its high"),
    ({"Channel": "0"}, "a channel that is none; Raven counts channels from 1"),
    ({"Begin File": " "}, "'Begin File' is blank; name the recording"),
    ({"File Offset (s)": "60.5"}, "begins at 60.5 s of a.wav, which lasts 60 s"),
    ({"File Offset (s)": "-1"}, "begins before the recording"),
    ({"Low Freq (Hz)": "5,000"}, "'Low Freq \\(Hz\\)' is '5,000', which may be 5000 or 5.000; write the one that is meant"),
    ({"Label": "x\ty"}, "13 cells, the header has 12; take the surplus separator out"),
])
def test_a_broken_row_is_named_by_file_line_fault_and_mend(tmp_path, changed, fault):
    with pytest.raises(BadAnnotation, match=f"s.Table.1.selections.txt, line 2: .*{fault}"):
        read_row(tmp_path, **changed)


def test_a_table_that_breaks_off_is_not_taken_for_whole(tmp_path):
    text = text_of(ROWS)
    with pytest.raises(BadAnnotation, match="line 4: breaks off after 5 of 12 cells; copy the file again"):
        read_annotations(file(tmp_path, text[:text.index("125.000000000") + 16]))
    trimmed = "\r\n".join(line.rstrip() for line in text.split("\r\n"))  # an editor took blanks off the ends of lines
    assert read_annotations(file(tmp_path, trimmed))["Remarque"].tolist() == ['sûr, "très" net', "", "007"]


def test_decimal_commas_and_quotes_of_a_spreadsheet(tmp_path):
    row = [cell.replace(".", ",") if cell.replace(".", "").isdigit() else cell for cell in ROWS[0]]
    quoted = [f'"{cell}"' if cell == row[9] else '"sûr, ""très"" net"' if cell == row[11] else cell for cell in row]
    same(read_annotations(file(tmp_path, text_of([quoted]))), read_annotations(file(tmp_path, text_of(ROWS[:1]))))
    threes = read_annotations(file(tmp_path, text_of([["1", "Spectrogram 1", "1", "1,500", "2,250", "100", "9000,5", "a.wav", "1,500", "x", "", ""]])))
    assert threes.loc[0, ["start_s", "end_s", "high_hz"]].tolist() == [1.5, 2.25, 9000.5]  # 9000,5 tells what the comma is
    fenced = read_annotations(file(tmp_path, text_of([ROWS[0][:9] + ['"W"', '"', "\x0bv\u2028w"]]).replace('"W"', '"""W"""')))
    assert fenced.loc[0, ["label", "Observateur", "Remarque"]].tolist() == ['"W"', '"', "\x0bv\u2028w"]
    same(read_annotations(write_raven(fenced, tmp_path / "back.txt")), fenced)


def test_labels_and_annotators_are_found_or_asked_for(tmp_path):
    header = ["Selection", "Begin Time (s)", "End Time (s)", "GROUNDTRUTH", "ECHO", "Whistle", "Analyst"]
    path = file(tmp_path, text_of([["1", "0", "1", "w", "0", "1", "Léa"], ["2", "1", "2", "e", "1", "TRUE", " "], ["3", "2", "3", "a", "0", "0", ""]], header), "6872.220716021453.txt")
    with pytest.raises(BadAnnotation, match="no column is known to hold labels among Selection, .* label_column"):
        read_annotations(path)
    with pytest.raises(BadAnnotation, match="no column 'GROUNDTRUT', perhaps 'GROUNDTRUTH'"):
        read_annotations(path, label_column="GROUNDTRUT")
    table = read_annotations(path, label_column="groundtruth", annotator="Max")
    assert table["label"].tolist() == ["w", "e", "a"] and table["annotator"].tolist() == ["Léa", "Max", "Max"] and "ECHO" in table
    assert read_annotations(path, label_column=["ECHO", "Whistle"])["label"].tolist() == ["Whistle", "ECHO+Whistle", "absent"]
    assert set(table["recording"]) == {"6872.220716021453"}  # the table's name is all there is


# --- which recording ---

def test_recordings_are_found_whatever_path_or_ending_the_table_has(tmp_path):
    names = ["d1/6872.220716021453.flac", "d2/6872.220716021453.flac", "d2/only.wav"]
    index = RecordingIndex(pd.DataFrame({"recording": names, "path": [str(tmp_path / name) for name in names]}))
    assert index.find("ONLY.WAV") == index.find("only") == index.find(r"C:\old\only.flac") == "d2/only.wav"
    assert index.find(r"D:\whales\d1\6872.220716021453.wav") == names[0] and index.find("nobody.wav") is None
    assert index.find("6872.220716021453.wav", tmp_path / "d2" / "x.Table.1.selections.txt") == names[1]
    with pytest.raises(LookupError, match="d1/6872.220716021453.flac or d2/6872.220716021453.flac"):
        index.find("6872.220716021453.wav")


def test_recordings_in_folders_of_one_name_round_trip_through_begin_path(tmp_path):
    recordings = pd.DataFrame({"recording": ["d1/a.wav", "d2/a.wav"], "duration_s": [10.0, 10.0], "sample_rate_hz": [96000, 8000]})
    table = read_annotations(file(tmp_path, "file,start,end,low,high,label\nd1/a.wav,1,2,100,200,x\nd2/a.wav,3,4,100,9000,y\n", "t.csv"), recordings)
    same(read_annotations(write_raven(table, tmp_path / "t.txt", recordings.drop(columns="sample_rate_hz")), recordings), table.assign(Selection=["1", "2"], View="Spectrogram 1"))
    rows = raven_table(table, recordings)
    assert rows["Begin Time (s)"].tolist() == ["1.000000000", "13.000000000"] and rows["High Freq (Hz)"].tolist() == ["200.0", "4000.0"]  # half the rate of 8 kHz
    ambiguous = file(tmp_path, text_of(ROWS[:1]), "u.txt")
    with pytest.raises(BadAnnotation, match="u.txt, line 2: .* may be d1/a.wav or d2/a.wav; give a 'Begin Path'"):
        read_annotations(ambiguous, recordings)
    with pytest.raises(ValueError, match="about 2 recordings; give `recordings`"):
        write_raven(table, tmp_path / "v.txt")


def test_recordings_are_listed_and_described(tmp_path):
    for name, rate in (("BSM/6872.220716021453.wav", 48000), ("KAM/6872.220717000000.wav", 8000)):
        (tmp_path / name).parent.mkdir()
        write(tmp_path / name, white_noise(rate, 0.5), rate, "PCM_16")
    (tmp_path / "KAM" / "broken.wav").write_bytes(b"")
    table = list_recordings(tmp_path)
    assert table["recording"].tolist() == ["BSM/6872.220716021453.wav", "KAM/6872.220717000000.wav", "KAM/broken.wav"]
    assert table["site"].tolist() == ["BSM", "KAM", "KAM"] and table["day"].tolist() == ["2022-07-16", "2022-07-17", ""]
    assert table["duration_s"].tolist()[:2] == [0.5, 0.5] and "zero bytes" in table.loc[2, "fault"]
    told = describe(table, file(tmp_path, "file;site;depth_m\n6872.220716021453.wav;Baie;12,5\n".replace(",5", ""), "about.csv"))
    assert told["site"].tolist() == ["Baie", "KAM", "KAM"] and told.loc[0, "depth_m"] == 12
    with pytest.raises(ValueError, match="says a, b as the source of BSM"):
        describe(table, pd.DataFrame({"file": ["6872.220716021453.wav"] * 2, "source": ["a", "b"]}))
    with pytest.raises(FileNotFoundError, match="0 recordings found"):
        list_recordings(tmp_path / "nothing")


# --- Audacity, CSV, folders ---

def test_audacity_labels_with_and_without_frequencies_round_trip(tmp_path):
    text = "1.5\t2.25\tSifflé\t2\n\\\t5000.5\t9000\n3\t3\n\n4.0\t5.0\tcall\n\\\t-1.0\t7000\n"
    path = file(tmp_path, text, "a.txt")
    table = read_annotations(path, recordings=SEQUENCE, annotator="Zoé")
    np.testing.assert_equal(table[OURS].to_numpy(object).tolist(), [["a.wav", 0, 1.5, 2.25, 5000.5, 9000.0, "Sifflé\t2"], ["a.wav", 0, 3.0, 3.0, np.nan, np.nan, ""],
                                                                   ["a.wav", 0, 4.0, 5.0, np.nan, 7000.0, "call"]])
    assert table["line"].tolist() == [1, 3, 5]
    same(read_annotations(write_audacity(table, tmp_path / "b" / "a.txt"), SEQUENCE, annotator="Zoé"), table)
    with pytest.raises(ValueError, match="has a tab or a line end in its 'Label'"):
        write_raven(table, tmp_path / "x.txt")
    with pytest.raises(ValueError, match="about 2 recordings; write a label file for each"):
        write_audacity(pd.concat([table, table.assign(recording="b.wav")]), tmp_path / "x.txt")
    for broken, said in (("1.5\t2\tx\nabc\n", "line 2: 'abc' is not start, end and text"), ("1\t2\tx\n\\\tlow\t5\n", "line 2: .* is not backslash, low and high")):
        with pytest.raises(BadAnnotation, match=said):
            read_annotations(file(tmp_path, broken, "a.txt"))


def test_csv_under_common_names_keeps_what_else_it_holds(tmp_path):
    text = 'file;Onset;Duration;Low Freq (kHz);High Freq (kHz);Call Type;source;ID\r\n"sub\\a.wav";1,5;0,5;2;9,5;"Si; fflé";clip 7;007\r\n\r\nB.WAV;2;1;;;x;;8\r\n'
    path = file(tmp_path, text, "t.csv", "latin-1")
    table = read_annotations(path, recordings=SEQUENCE)
    np.testing.assert_equal(table[OURS].to_numpy(object).tolist(), [["a.wav", 0, 1.5, 2.0, 2000.0, 9500.0, "Si; fflé"], ["b.wav", 0, 2.0, 3.0, np.nan, np.nan, "x"]])
    assert table["line"].tolist() == [2, 4] and table["ID"].tolist() == ["007", "8"] and table["source_in_file"].tolist() == ["clip 7", ""]
    same(read_annotations(write_csv(table, tmp_path / "back.csv")), table)
    same(read_annotations(write_raven(table, tmp_path / "back.txt", SEQUENCE)), table.assign(Selection=["1", "2"], View="Spectrogram 1").reindex(columns=[*TYPES, "Selection", "View", "source_in_file", "ID"]))
    with pytest.raises(BadAnnotation, match="t.csv, line 2: 'Onset' is '2022-07-16', not a number"):
        read_annotations(file(tmp_path, text.replace("1,5", "2022-07-16"), "t.csv"))
    with pytest.raises(BadAnnotation, match="line 3: broken quotes"):
        read_annotations(file(tmp_path, 'file,start,end,label\na.wav,1,2,"x"\na.wav,1,2,"y\n', "t.csv"))


def test_a_csv_without_times_is_about_whole_recordings(tmp_path):
    path = file(tmp_path, "file,species,recording,duration_s\nbeluga/a.wav,beluga,62018,1.863\n", "manifest.csv")
    assert read_annotations(path).loc[0, ["recording", "start_s", "end_s", "label", "recording_in_file", "duration_s"]].tolist() == ["beluga/a.wav", 0.0, 1.863, "beluga", "62018", "1.863"]
    assert read_annotations(path, recordings=SEQUENCE).loc[0, ["recording", "end_s"]].tolist() == ["a.wav", 60.0]


# --- columns under other programs' names

HOUR = pd.DataFrame({"recording": ["6872.220716021453.wav", "6872.220716031453.wav"], "duration_s": [3600.0, 3600.0]})
RATED = HOUR.assign(sample_rate_hz=96000)
CALL = [["6872.220716021453.wav", 0, 12.0, 12.8, 2500.0, 7000.0, "w"]]


@pytest.mark.parametrize("header, row", [
    ("filename,label,min_f,min_t,max_f,max_t", "{},w,2500,12,7000,12.8"),
    ("IN FILE,FOLDER,OFFSET,DURATION,Fmin,Fmax,DATE,TIME,MANUAL ID", "{},a,12,0.8,2500,7000,2022-07-16,02:15:05,w"),
    ("sound.files,selec,start,end,bottom.freq,top.freq,label", "{},1,12,12.8,2.5,7,w"),
    ("UTC,startSeconds,duration,lowFreq,highFreq,annotation,file", "2022-07-16 02:15:05,12,0.8,2500,7000,w,{}"),
    ("filename,start_time,end_time,start_frequency,end_frequency,annotation,start_datetime", "{},12,12.8,2500,7000,w,2022-07-16"),
    ("label,onset_s,offset_s,onset_sample,low_khz,high_khz,notated_path", "w,12,12.8,1,2.5,7,{}"),
    ("audio_file,annotation,start_time,end_time,low_f,high_f,annotation_file", "{},w,12,12.8,2500,7000,a.txt"),
    ("file,start (ms),end (ms),Min Freq (kHz),Max Freq (kHz),label", "{},12000,12800,2.5,7,w"),
    ("file,Start (µs),Duration (ms),low_hz,high_hz,label", "{},12000000,800,2500,7000,w"),
    ("file,start (min),duration (sec),low_hz,high_hz,label", "{},0.2,0.8,2500,7000,w"),
    ("file,begin_sample,end_sample,low_hz,high_hz,label", "{},1152000,1228800,2500,7000,w"),
    (",heard in,start,end,low_hz,high_hz,label,", "7,{},12,12.8,2500,7000,w,")])
def test_times_bounds_and_recordings_are_read_under_the_names_and_units_of_other_programs(tmp_path, header, row):
    path = file(tmp_path, f"{header}\n{row.format('6872.220716021453.wav')}\n", "t.csv")
    np.testing.assert_equal(read_annotations(path, RATED)[OURS].to_numpy(object).tolist(), CALL)


@pytest.mark.parametrize("header, row, said", [
    ("file,begin_sample,end_sample,label", "{},1,2,w", "t.csv, line 2: 'begin_sample' counts samples, and nobody tells"),
    ("file,start_ms,end,label", "{},1000,2000,w", "t.csv: column 'start_ms' says its unit and 'end' does not"),
    ("file,start,label", "{},1,w", "t.csv: 'start' without a column of ends or durations"),
    ("file,start,offset,duration,label", "{},100,5,1,w", "t.csv: columns 'start', 'offset', 'duration' contradict"),
    ("file,bottom.freq,top.freq,start,end,label", "{},2.5,7,1,2,w", "t.csv: column 'bottom.freq' is in kHz in warbleR"),
    ("file,start,end,label", "{},00:00:01,00:00:02,w", "t.csv, line 2: 'start' is '00:00:01', hours and minutes"),
    ("file,start_frame,end_frame,label", "{},1,2,w", "columns 'start_frame', 'end_frame' may be times"),
    ("file,Beginn (s),Ende (s),label", "{},1,2,w", "columns 'Beginn .s.', 'Ende .s.' may be times"),
    ("file,start_utc,end_utc,label", "{},2022-07-16T02:15:05Z,2022-07-16T02:15:06Z,w", "'start_utc', 'end_utc' may be times"),
    ("file,time,label", "{},1,w", "column 'time' may be times"),
    ("file,from,to,label", "{},1,2,w", "columns 'from', 'to' may be times"),
    ("file,in,label", "{},01:12,w", "column 'in' may be times"),
    ("near,far,start,end,label", "{},b.wav,1,2,w", "'near', 'far' all hold names of sound files"),
    ("soundname,start,end,label", "6872.220716021453,1,2,w", "column 'soundname' may name recordings")])
def test_what_looks_like_a_time_or_a_recording_is_never_passed_over(tmp_path, header, row, said):
    path = file(tmp_path, f"{header}\n{row.format('6872.220716021453.wav')}\n", "t.csv")
    with pytest.raises(BadAnnotation, match=said):
        read_annotations(path)
    if "soundname" not in header:  # known to the table of recordings
        with pytest.raises(BadAnnotation, match=said):
            read_annotations(path, HOUR)


def test_recordings_known_by_their_names_are_found_under_any_column(tmp_path):
    path = file(tmp_path, "tape,start,end,label\n6872.220716021453,1,2,w\n6872.220716031453,1,2,w\n", "t.csv")
    assert read_annotations(path, HOUR)["recording"].tolist() == HOUR["recording"].tolist()


@pytest.mark.parametrize("header, row, rate_hz, bounds", [
    ("sound.files,selec,start,end,bottom.freq,top.freq,label", "{},1,1,2,2500,7000,w", None, (2500, 7000)),
    ("sound.files,selec,start,end,bottom.freq,top.freq,label", "{},1,1,2,0,7000,w", None, (0, 7000)),
    ("sound.files,selec,start,end,bottom.freq,top.freq,label", "{},1,1,2,50,300,w", 2000, (50, 300)),
    ("sound.files,selec,start,end,bottom.freq,top.freq,label", "{},1,1,2,50,300,w", None, (50_000, 300_000)),
    ("sound.files,selec,start,end,bottom.freq,top.freq,label", "{},1,1,2,50,49.5,w".replace("50,", "2.5,"), 96000, (2500, 49_500)),  # drawn over the edge
    ("file,start,end,low_khz,high_khz,label", "{},1,2,60,80,w", 96000, (60, 80)), ("file,start,end,low_khz,high_khz,label", "{},1,2,60,80,w", 192000, (60_000, 80_000)),
    ("file,start,end,bottom.freq,top.freq,label", "{},1,2,2500,7000,w", None, (2500, 7000)),  # no table of warbleR, but no kHz either
    ("file,start,end,Low Freq (kHz),High Freq (kHz),label", "{},1,2,2500,7000,w", None, (2500, 7000)),
    ("file,start,end,min_khz,max_khz,label", "{},1,2,2.5,7,w", 96000, (2500, 7000)),
    ("Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (kHz)\tHigh Freq (kHz)\tBegin File\tLabel", "1\tSpectrogram 1\t1\t1\t2\t2500\t7000\t{}\tw", 96000, (2500, 7000))])
def test_bounds_in_khz_that_no_recording_can_hold_are_hz_and_a_note_says_so(tmp_path, header, row, rate_hz, bounds):
    known = None if rate_hz is None else HOUR.assign(sample_rate_hz=rate_hz)
    table = read_annotations(file(tmp_path, f"{header}\n{row.format('6872.220716021453.wav')}\n", "t.txt" if "\t" in header else "t.csv"), known)
    assert table.loc[0, ["low_hz", "high_hz"]].tolist() == list(bounds)
    in_hz = row.split("\t" if "\t" in row else ",")[-3 if "\t" in row else -2] in ("7000", "300", "80") and bounds[1] < 10_000
    assert ["read as Hz, not kHz, for line 2" in note for note in table.attrs["notes"]] == ([True] if in_hz else [])


def test_bounds_of_which_some_can_only_be_hz_and_some_only_khz_are_refused(tmp_path):
    text = "file,start,end,low_khz,high_khz,label\na.wav,1,2,2.5,7,w\na.wav,1,2,2500,7000,w\n"
    with pytest.raises(BadAnnotation, match="line 3: 'low_khz' and 'high_khz' hold 7000, which as kHz is beyond what any recording holds, though line 2 says 7"):
        read_annotations(file(tmp_path, text, "t.csv"))


def test_what_is_about_whole_recordings_may_tell_dates_and_lengths(tmp_path):
    path = file(tmp_path, "file,label,date,recording_date,duration (ms),observer's note\na.wav,w,2022-07-16,2022-07-16,1500,x\n", "t.csv")
    assert read_annotations(path).loc[0, ["start_s", "end_s", "label"]].tolist() == [0.0, 1.5, "w"]


@pytest.mark.parametrize("column", ["TimeInFile", "File Offset (s)", "offset_in_file", "time of file"])
def test_a_time_in_the_file_is_a_time_though_its_column_speaks_of_the_file(tmp_path, column):
    with pytest.raises(BadAnnotation, match="no column is known to hold starts"):
        read_annotations(file(tmp_path, f"file,{column},label\na.wav,12,w\n", "t.csv"), pd.DataFrame({"recording": ["a.wav"], "duration_s": 60.0}))
    path = file(tmp_path, "file,begin_path,label\na.wav,d/a.wav,w\n", "t.csv")
    assert read_annotations(path, pd.DataFrame({"recording": ["a.wav"], "duration_s": 60.0})).loc[0, "end_s"] == 60


def test_minutes_and_seconds_of_one_time_are_refused_and_two_units_of_it_are_read(tmp_path):
    known = pd.DataFrame({"recording": ["a.wav"], "duration_s": 3600.0})
    parts = "file,start_min,start_sec,end_min,end_sec,label\na.wav,0,12,0,13,w\na.wav,3,12,3,13,w\n"
    with pytest.raises(BadAnnotation, match="line 3: 'start_min' and 'start_sec' are not the same time, or parts of one; write it in seconds"):
        read_annotations(file(tmp_path, parts, "t.csv"), known)
    both = "file,start_min,start_s,end_min,end_s,label\na.wav,3,192.5,3.3,195,w\na.wav,4,212,4,215,w\n"
    assert read_annotations(file(tmp_path, both, "t.csv"), known)["start_s"].tolist() == [192.5, 212.0]


def test_a_line_that_tells_excel_the_separator_is_no_header(tmp_path):
    table = read_annotations(file(tmp_path, "sep=;\r\nfile;start_s;end_s;label\r\na.wav;1,5;2,5;x, y\r\n", "t.csv"))
    assert table.loc[0, ["start_s", "end_s", "label", "line"]].tolist() == [1.5, 2.5, "x, y", 3]
    with pytest.raises(BadAnnotation, match="without even a header"):
        read_annotations(file(tmp_path, "sep=;\n", "t.csv"))


def test_a_row_without_a_header_is_no_empty_table(tmp_path):
    with pytest.raises(BadAnnotation, match="line 1: a row and no header"):
        read_annotations(file(tmp_path, "1\tSpectrogram 1\t1\t12.0\t13.0\t2000\t4000\ta.wav\tw\n", "a.selections.txt"))


def test_kaleidoscopes_folder_tells_recordings_of_one_name_apart(tmp_path):
    recordings = pd.DataFrame({"recording": ["a/1.wav", "b/1.wav"], "duration_s": 60.0})
    path = file(tmp_path, "FOLDER,IN FILE,OFFSET,DURATION,MANUAL ID\nb,1.wav,12,1,w\n", "t.csv")
    assert read_annotations(path, recordings)["recording"].tolist() == ["b/1.wav"]


def test_separators_at_the_end_of_lines_make_no_column_and_no_broken_row(tmp_path):
    header = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (kHz)\tHigh Freq (kHz)\tLabel"
    row = "1\tSpectrogram 1\t1\t1.0\t2.0\t5\t9\tw"
    plain = read_annotations(file(tmp_path, f"{header}\n{row}\n", "a.selections.txt"))
    assert plain.loc[0, ["low_hz", "high_hz"]].tolist() == [5000.0, 9000.0]
    for text in (f"{header}\t\n{row}\t\n", f"{header}\t\n{row}", f"{header}\n{row}\t\n"):
        same(read_annotations(file(tmp_path, text, "a.selections.txt")), plain)


def test_a_label_typed_in_the_waveforms_row_alone_is_kept(tmp_path):
    header = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tLabel\tNotes\n"
    rows = "1\tWaveform 1\t1\t1\t2\t\t\tHFPC\tfaint\n1\tSpectrogram 1\t1\t1\t2\t5\t9\t\tclear\n"
    table = read_annotations(file(tmp_path, header + rows, "a.selections.txt"))
    assert table[["label", "Notes", "View", "low_hz"]].to_numpy().tolist() == [["HFPC", "clear", "Spectrogram 1", 5.0]]


def test_label_files_in_hours_minutes_and_seconds_are_refused_alone_and_in_a_folder(tmp_path):
    file(tmp_path, "00:00:12.5\t00:00:13\tw\n", "a.txt")
    for path in (tmp_path / "a.txt", tmp_path):
        with pytest.raises(BadAnnotation, match="a.txt, line 1: start and end are hours, minutes and seconds"):
            read_annotations(path)


def test_annotations_go_to_crowsetta_and_come_back(tmp_path):
    pytest.importorskip("crowsetta")
    from preprocessing.crowsetta_bridge import from_crowsetta, to_crowsetta

    text = "file,start,end,low_hz,high_hz,label\na.wav,1.25,2.5,2000,7000,w\na.wav,3,4,100,200,x\nb.wav,1,2,,,y\nb.wav,2,3,5,9,z\n"
    table = read_annotations(file(tmp_path, text, "t.csv"))
    boxes, sequence = to_crowsetta(table)
    assert len(boxes.bboxes) == 2 and len(sequence.seq.segments) == 2
    back = from_crowsetta([boxes, sequence])
    without_bounds = table.assign(low_hz=table["low_hz"].where(table["recording"] == "a.wav"), high_hz=table["high_hz"].where(table["recording"] == "a.wav"))
    same(back, without_bounds)
    with pytest.raises(ValueError, match="a.wav: an annotation at 1.25 s has no length"):
        to_crowsetta(table.assign(end_s=table["start_s"]))


def test_a_folder_is_joined_in_order_and_says_what_it_cannot_decide(tmp_path):
    header, rows = without(ROWS, "Remarque")
    file(tmp_path, text_of(ROWS[2:]), "z/s2.Table.1.selections.txt")
    file(tmp_path, text_of(rows[:2], header), "s1.Table.1.selections.txt")
    file(tmp_path, "Read me.\nTwo lines.\n", "README.txt")
    file(tmp_path, "recording,site\na.wav,BSM\n", "recordings.csv")
    table = read_annotations(tmp_path)
    assert table["label"].tolist() == ["Sifflé", "HFPC", "écho "] and table["Remarque"].tolist() == ["", "", "007"] and table["line"].tolist() == [2, 3, 2]
    same(read_annotations([tmp_path / "s1.Table.1.selections.txt", str(tmp_path / "z" / "*.txt")]), table)
    file(tmp_path, "file,start,end,label\na.wav,1,2,x\n", "more.csv")
    with pytest.raises(BadAnnotation, match="holds 1 CSV tables .* and 2 Raven selection tables .* may tell the same calls twice; say which"):
        read_annotations(tmp_path)
    assert len(read_annotations(tmp_path / "**" / "*.selections.txt")) == 3
    file(tmp_path, "nonsense\n", "z/s3.Table.1.selections.txt")
    with pytest.raises(BadAnnotation, match="s3.*no columns `Begin Time"):
        read_annotations(tmp_path / "z")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadAnnotation, match="0 annotation files found"):
        read_annotations(tmp_path / "empty")
    with pytest.raises(BadAnnotation, match="cannot be read"):
        read_annotations(tmp_path / "nothing.txt")
    file(tmp_path, "", "empty.csv")
    with pytest.raises(BadAnnotation, match="empty, without even a header"):
        read_annotations(tmp_path / "empty.csv")


# --- the pipeline's tables ---

PIPELINE = """Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tBegin File\tFile Offset (s)\tLabel\tDiphonic\tPasses\tFlags\tSpecies Score\tSNR (dB)\tLevel (dB re 1 uPa)\tscore_HFPC\tscore_Whistle
1\tSpectrogram 1\t2\t61.25\t61.8125\t5200.5\t88000.0\t6872.220716021453.wav\t1.25\tHFPC+Whistle\tTrue\tyes\tclipped\t0.82\t12.3\t118.4\t0.912\t0.871
2\tSpectrogram 1\t2\t64.0\t64.5\t2000.0\t9000.0\t6872.220716021453.wav\t4.0\tWhistle\tFalse\tno\tbelow_snr\t\t\t101.0\t\t0.65
"""


def events():
    return pd.DataFrame({"recording": "d1/6872.220716021453.wav", "channel": 1, "start_s": [1.25, 4.0], "end_s": [1.8125, 4.5], "low_hz": [5200.5, 2000.0], "high_hz": [99000.0, 9000.0],
                         "labels": ["HFPC+Whistle", "Whistle"], "diphonic": [True, False], "snr_db": np.float32([12.3, np.nan]), "level_db": np.float32([118.4, 101.0]),
                         "score_HFPC": np.float32([0.912, np.nan]), "score_Whistle": np.float32([0.871, 0.65])})


def test_the_pipelines_selection_tables_are_read(tmp_path):
    from pipeline import tables

    name = "d1/6872.220716021453.wav"
    flagged = events().assign(flags=["clipped", "below_snr"], species_score=np.float32([0.82, np.nan]))
    made = tables.raven_table(flagged, {name: 176000}, {name: 60.0})
    assert made.to_csv(sep="\t", index=False, lineterminator="\n") == PIPELINE  # what stands above is what it writes
    table = read_annotations(file(tmp_path, PIPELINE), recordings=pd.DataFrame({"recording": [name], "duration_s": [30.0]}))
    assert table[["recording", "channel", "start_s", "end_s", "low_hz", "high_hz", "label"]].to_numpy(object).tolist() == [
        [name, 1, 1.25, 1.8125, 5200.5, 88000.0, "HFPC+Whistle"], [name, 1, 4.0, 4.5, 2000.0, 9000.0, "Whistle"]]
    assert table["Flags"].tolist() == ["clipped", "below_snr"] and table["Passes"].tolist() == ["yes", "no"]
    assert table["SNR (dB)"].tolist() == ["12.3", ""] and table["score_HFPC"].tolist() == ["0.912", ""]


def test_our_writer_writes_events_as_well(tmp_path):
    sequence = pd.DataFrame({"recording": ["d1/earlier.wav", "d1/6872.220716021453.wav"], "duration_s": [60.0, 30.0], "sample_rate_hz": 176000})
    rows = raven_table(events(), sequence)
    assert rows["Label"].tolist() == ["HFPC+Whistle", "Whistle"] and rows["Begin Time (s)"].tolist() == ["61.250000000", "64.000000000"] and rows["High Freq (Hz)"].tolist() == ["88000.0", "9000.0"]
    assert rows["Channel"].tolist() == ["2", "2"] and rows["score_HFPC"].tolist()[1] == "" and rows["diphonic"].tolist() == ["True", "False"]
    assert read_annotations(write_raven(events(), tmp_path / "e.txt", sequence))["recording"].unique().tolist() == ["d1/6872.220716021453.wav"]


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes(codecs.BOM_UTF16_LE + b"a")
    with pytest.raises(BadAnnotation, match="not a text file, or broken off"):
        read_annotations(path)
