use super::*;

fn picture(width: u32, height: u32) -> Picture {
    let pixels = (0..width * height).flat_map(|at| [(at % 256) as u8, (at / width % 256) as u8, 200]).collect();
    Picture::new(width, height, pixels).unwrap()
}

fn at(chat: &str, number: u8) -> Where {
    (chat.to_owned(), (format!("{number:032x}").parse().unwrap(), "bob".to_owned()))
}

fn with(graphics: Graphics) -> (Pictures, Where) {
    let (mut pictures, which) = (Pictures::new(graphics), at("bob", 1));
    assert!(pictures.want(&which) && !pictures.want(&which), "it is asked for once");
    assert!(pictures.rows(&which, 60).is_empty());
    pictures.arrived(which.clone(), Some(picture(320, 240)), |_| true);
    (pictures, which)
}

fn text(line: &Line<'_>) -> String {
    line.spans.iter().map(|span| span.content.as_ref()).collect()
}

#[test]
fn terminals_get_what_they_are_known_to_show() {
    let of = |images, variables: &[(&str, &str)], cell| {
        let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Graphics::of(images, true, variable, cell)
    };
    let (auto, cell) = (Images::Auto, Some((9, 18)));
    assert_eq!(of(auto, &[("TERM", "xterm-kitty")], cell), Graphics::Kitty);
    assert_eq!(of(auto, &[("TERM", "xterm-256color"), ("TERM_PROGRAM", "ghostty")], None), Graphics::Kitty);
    assert_eq!(of(auto, &[("TERM", "foot")], cell), Graphics::Sixel { cell: (9, 18) });
    assert_eq!(of(auto, &[("TERM", "foot")], Some((0, 0))), Graphics::Blocks { all_colours: false });
    assert_eq!(of(auto, &[("TERM", "xterm"), ("TERM_PROGRAM", "WezTerm")], cell), Graphics::Sixel { cell: (9, 18) });
    assert_eq!(
        of(auto, &[("TERM", "tmux-256color"), ("TERM_PROGRAM", "tmux")], cell),
        Graphics::Blocks { all_colours: false }
    );
    let direct = [("TERM", "xterm-256color"), ("COLORTERM", "truecolor")];
    assert_eq!(of(auto, &direct, cell), Graphics::Blocks { all_colours: true });
    assert_eq!(of(Images::Off, &direct, cell), Graphics::Off);
    assert_eq!(of(Images::Blocks, &[("TERM", "xterm-kitty")], cell), Graphics::Blocks { all_colours: false });
    assert_eq!(of(Images::Sixel, &[], None), Graphics::Sixel { cell: (10, 20) });
    // NO_COLOR.
    assert_eq!(Graphics::of(Images::Kitty, false, |_| None, cell), Graphics::Off);
}

#[test]
fn a_picture_keeps_its_shape_and_its_bounds() {
    assert_eq!(cells((320, 240), 60), (32, 12));
    assert_eq!(cells((320, 180), 60), (40, 12));
    assert_eq!(cells((320, 180), 20), (20, 6));
    assert_eq!(cells((16, 16), 60), (4, 2));
    // Whatever is sent.
    for (width, height) in [(1, 4000), (4000, 1), (1, 1), (0, 0), (u32::MAX, 1), (1, u32::MAX)] {
        let (columns, rows) = cells((width, height), 60);
        assert!((1..=COLUMNS).contains(&columns) && (1..=ROWS).contains(&rows), "{width}×{height}");
    }
    assert_eq!(cells((320, 240), 0), (1, 1));
}

#[test]
fn half_blocks_are_two_pixels_each() {
    let (pictures, which) = with(Graphics::Blocks { all_colours: true });
    let rows = pictures.rows(&which, 60);
    assert_eq!(rows.len(), 12);
    assert!(rows.iter().all(|row| text(row) == "▀".repeat(32)));
    let cell = rows[0].spans[0].style;
    assert!(matches!((cell.fg, cell.bg), (Some(Color::Rgb(..)), Some(Color::Rgb(..)))), "{cell:?}");
    assert_eq!(
        (nearest(0, 0, 0), nearest(255, 255, 255), nearest(95, 135, 175)),
        (Color::Indexed(16), Color::Indexed(231), Color::Indexed(67))
    );
    let (pictures, which) = with(Graphics::Blocks { all_colours: false });
    assert!(matches!(pictures.rows(&which, 60)[3].spans[3].style.fg, Some(Color::Indexed(_))));
}

#[test]
fn kitty_is_sent_a_picture_once_and_shows_it_where_its_placeholders_stand() {
    let (pictures, which) = with(Graphics::Kitty);
    assert!(pictures.unsent(|_| None).is_empty(), "its room is not known yet");
    let rows = pictures.rows(&which, 60);
    assert!(text(&rows[1]).starts_with("\u{10eeee}\u{30d}\u{305}\u{10eeee}\u{30d}\u{30d}"));
    let sent = pictures.unsent(|_| None);
    let [(id, (32, 12), sent)] = &sent[..] else { panic!("{sent:?}") };
    assert!(sent.starts_with(&format!("\u{1b}_Ga=T,U=1,q=2,f=100,i={id},c=32,r=12,m=1;")), "{}", &sent[..80]);
    assert!(sent.split("\u{1b}\\").all(|piece| piece.len() < PIECE + 80) && sent.contains("_Gm=0;"));
    assert!(pictures.unsent(|_| Some((32, 12))).is_empty());
    // A narrower pane.
    pictures.rows(&which, 16);
    let placed = format!("\u{1b}_Ga=p,U=1,q=2,i={id},c=16,r=6\u{1b}\\");
    assert_eq!(pictures.unsent(|_| Some((32, 12))), [(*id, (16, 6), placed)]);
    let Some(Color::Rgb(red, green, blue)) = rows[0].spans[0].style.fg else { panic!("no id") };
    assert_eq!(u32::from_be_bytes([0, red, green, blue]), *id);
    assert!(super::super::text::width(&text(&rows[0])) == 32);
}

#[test]
fn sixels_take_the_place_of_placeholders_row_by_row() {
    let (pictures, which) = with(Graphics::Sixel { cell: (8, 16) });
    let area = Rect::new(0, 0, 50, 4);
    let drawn = |covered: bool| {
        let mut buffer = Buffer::empty(area);
        for (y, row) in (0..4).zip(pictures.rows(&which, 60).iter().skip(9)) {
            buffer.set_line(2, y, row, 48);
        }
        buffer.set_string(40, 0, "x", Style::new());
        pictures.paint(&mut buffer, area, covered);
        buffer
    };
    let buffer = drawn(false);
    for y in 0..3 {
        let band = buffer[(2, y)].symbol();
        assert!(band.starts_with("\u{1b}7\u{1b}P0;1;0q\"1;1;256;16#"), "{band}");
        assert!(band.ends_with("\u{1b}\\\u{1b}8\u{1b}[C"));
        assert!(band.chars().all(|c| c == '\u{1b}' || !c.is_control()));
        assert_eq!((buffer[(3, y)].symbol(), buffer[(3, y)].diff_option), (" ", CellDiffOption::Skip));
    }
    assert_eq!(buffer[(40, 0)].symbol(), "x");
    // Only three of its rows were left.
    assert_eq!(buffer[(2, 3)].symbol(), " ");
    // Nothing is drawn over what lies on top.
    assert_eq!(drawn(true)[(2, 0)].symbol(), " ");
}

#[test]
fn far_away_pictures_are_forgotten_and_asked_for_again() {
    let mut pictures = Pictures::new(Graphics::Kitty);
    for number in 0..=u8::try_from(KEPT).unwrap() {
        assert!(pictures.want(&at("bob", number)));
        pictures.arrived(at("bob", number), Some(picture(8, 8)), |which| *which == at("bob", 3));
    }
    assert_eq!(pictures.known.values().flatten().count(), 1);
    assert!(!pictures.want(&at("bob", 3)) && pictures.want(&at("bob", 4)));
    assert!(!Pictures::new(Graphics::Off).want(&at("bob", 1)));
}
