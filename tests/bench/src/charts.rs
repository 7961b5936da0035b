//! Lines in an SVG file.

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use std::path::Path;

/// One chart of a picture.
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) x: &'static str,
    pub(crate) y: &'static str,
    /// Each with its name.
    pub(crate) lines: Vec<(String, Vec<(f64, f64)>)>,
}

/// The size of one chart.
const SIZE: (u32, u32) = (640, 320);

/// Draws the charts below each other.
pub(crate) fn draw(path: &Path, charts: &[Chart]) -> Result<()> {
    let height = SIZE.1 * u32::try_from(charts.len().max(1))?;
    let root = SVGBackend::new(path, (SIZE.0, height)).into_drawing_area();
    let failed = |error: &dyn std::fmt::Display| anyhow!("the chart {}: {error}", path.display());
    root.fill(&WHITE).map_err(|error| failed(&error))?;
    for (area, chart) in root.split_evenly((charts.len().max(1), 1)).iter().zip(charts) {
        one(area, chart).map_err(|error| failed(&error))?;
    }
    root.present().map_err(|error| failed(&error))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Failed<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

fn one<'a>(area: &Area<'a>, chart: &Chart) -> Result<(), Failed<'a>> {
    let points = || chart.lines.iter().flat_map(|(_, points)| points.iter());
    let most = |which: fn(&(f64, f64)) -> f64| points().map(which).fold(0.0, f64::max).max(1e-9);
    let (right, top) = (most(|point| point.0), most(|point| point.1) * 1.08);
    let mut context = ChartBuilder::on(area)
        .caption(&chart.title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(34)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..right * 1.02, 0.0..top)?;
    context.configure_mesh().x_desc(chart.x).y_desc(chart.y).max_light_lines(1).draw()?;
    for (index, (name, points)) in chart.lines.iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        context
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    context
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .position(SeriesLabelPosition::UpperLeft)
        .draw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_is_an_svg_file_with_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chart.svg");
        let lines = vec![("server".to_owned(), vec![(1.0, 2.0), (10.0, 20.0)]), ("floor".to_owned(), vec![])];
        let chart = Chart { title: "Throughput".into(), x: "pairs", y: "messages/s", lines };
        draw(&path, &[chart]).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.starts_with("<svg") && ["Throughput", "pairs", "floor"].iter().all(|name| text.contains(name)));
    }
}
