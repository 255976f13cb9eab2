//! Plots of the benches, as SVG: panels side by side, a line for each series, a legend below.
//!
//! They are read on light pages and on dark ones, so they bring their own background.

use std::{ops::Range, path::Path};

use anyhow::{Result, anyhow};
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

/// In pixels.
const PANEL: (u32, u32) = (400, 300);
const TITLE_HEIGHT: u32 = 40;
const LEGEND_ROW: i32 = 22;
const LEGEND_COLUMN: i32 = 260;
const LEGEND_LINE: i32 = 30;
const MARGIN: i32 = 16;
const PANELS_IN_A_ROW: usize = 3;
const LINEAR_MARKS: usize = 5;
/// More steps of a line than this are not seen.
const MAX_STEPS: usize = 200;
const FONT: &str = "sans-serif";
/// Told apart by people with any kind of colour vision (Okabe and Ito 2008).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(0, 158, 115),
    RGBColor(230, 159, 0),
    RGBColor(90, 90, 90),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// The library's errors differ with what was drawn.
type DrawError = Box<dyn std::error::Error>;

/// What an axis shows.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// With the unit.
    pub(super) label: &'static str,
    pub(super) range: Range<f64>,
    pub(super) logarithmic: bool,
}

/// A plot of some panels, which share their axes.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    /// The names of the lines, in the order of their colours.
    pub(super) series: Vec<&'static str>,
    pub(super) panels: Vec<Panel>,
}

/// A panel, with the lines of some of the series.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    pub(super) title: String,
    /// By their place among the series; the points from left to right.
    pub(super) lines: Vec<(usize, Vec<(f64, f64)>)>,
}

/// The empirical distribution of some values, as a line of steps: the share of them that is not above x.
/// Values outside of `range` are drawn at its ends.
pub(super) fn distribution(values: impl IntoIterator<Item = f64>, range: &Range<f64>) -> Vec<(f64, f64)> {
    let mut values: Vec<f64> = values.into_iter().map(|value| value.clamp(range.start, range.end)).collect();
    values.sort_by(f64::total_cmp);
    let count = values.len();
    let stride = count.div_ceil(MAX_STEPS).max(1);
    let mut steps = vec![(range.start, 0.0)];
    for (index, value) in
        values.into_iter().enumerate().filter(|(index, _)| (index + 1) % stride == 0 || index + 1 == count)
    {
        let below = steps.last().map_or(0.0, |(_, share)| *share);
        steps.extend([(value, below), (value, (index + 1) as f64 / count as f64)]);
    }
    steps.push((range.end, if count > 0 { 1.0 } else { 0.0 }));
    steps
}

impl Plot {
    /// Writes it as SVG.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        self.draw(path).map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
    }

    fn draw(&self, path: &Path) -> Result<(), DrawError> {
        let columns = self.panels.len().clamp(1, PANELS_IN_A_ROW);
        let rows = self.panels.len().div_ceil(columns);
        // For the title, a single panel is as wide as two.
        let width = PANEL.0 * u32::try_from(columns.max(2))?;
        let panels = PANEL.1 * u32::try_from(rows)?;
        let legend_columns = (width / LEGEND_COLUMN.unsigned_abs()).max(1) as usize;
        let legend_rows = i32::try_from(self.series.len().div_ceil(legend_columns))?;
        let legend = (LEGEND_ROW * legend_rows + MARGIN).unsigned_abs();

        let root = SVGBackend::new(path, (width, TITLE_HEIGHT + panels + legend)).into_drawing_area();
        root.fill(&WHITE)?;
        let (title, rest) = root.split_vertically(TITLE_HEIGHT);
        title.titled(&self.title, (FONT, 20))?;
        let (area, legend) = rest.split_vertically(panels);
        for (panel, area) in self.panels.iter().zip(area.split_evenly((rows, columns))) {
            self.draw_panel(panel, &area)?;
        }
        self.draw_legend(&legend, legend_columns)?;
        root.present()?;
        Ok(())
    }

    fn draw_panel(&self, panel: &Panel, area: &Area<'_>) -> Result<(), DrawError> {
        let mut chart = ChartBuilder::on(area)
            .caption(&panel.title, (FONT, 16))
            .margin(MARGIN / 2)
            .x_label_area_size(40)
            .y_label_area_size(56)
            .build_cartesian_2d(self.x.places(), self.y.places())?;
        let (x_mark, y_mark) = (|place: &f64| self.x.mark(*place), |place: &f64| self.y.mark(*place));
        let mut mesh = chart.configure_mesh();
        mesh.x_labels(self.x.marks()).x_label_formatter(&x_mark).x_desc(self.x.label);
        mesh.y_labels(self.y.marks()).y_label_formatter(&y_mark).y_desc(self.y.label);
        mesh.light_line_style(TRANSPARENT).label_style((FONT, 12)).axis_desc_style((FONT, 13)).draw()?;
        for (series, points) in &panel.lines {
            let points = points.iter().map(|(x, y)| (self.x.place(*x), self.y.place(*y)));
            chart.draw_series(LineSeries::new(points, colour(*series).stroke_width(2)))?;
        }
        Ok(())
    }

    /// The names of all series beside a piece of their lines.
    fn draw_legend(&self, area: &Area<'_>, columns: usize) -> Result<(), DrawError> {
        for (index, name) in self.series.iter().enumerate() {
            let (column, row) = (i32::try_from(index % columns)?, i32::try_from(index / columns)?);
            let (x, y) = (MARGIN + LEGEND_COLUMN * column, LEGEND_ROW * row + MARGIN / 2);
            let line = vec![(x, y), (x + LEGEND_LINE, y)];
            area.draw(&PathElement::new(line, colour(index).stroke_width(3)))?;
            let beside = Pos::new(HPos::Left, VPos::Center);
            let style = (FONT, 14).into_text_style(area).pos(beside);
            area.draw_text(name, &style, (x + LEGEND_LINE + MARGIN / 2, y))?;
        }
        Ok(())
    }
}

impl Axis {
    /// Where a value is on the axis.
    fn place(&self, value: f64) -> f64 {
        let value = value.clamp(self.range.start, self.range.end);
        if self.logarithmic { value.log10() } else { value }
    }

    fn places(&self) -> Range<f64> {
        self.place(self.range.start)..self.place(self.range.end)
    }

    /// How many places have a mark: on a logarithmic axis, the powers of ten.
    fn marks(&self) -> usize {
        if !self.logarithmic {
            return LINEAR_MARKS;
        }
        let Range { start, end } = self.places();
        // A few decades.
        (0..100).take_while(|decade| start + f64::from(*decade) <= end).count()
    }

    fn mark(&self, place: f64) -> String {
        let value = if self.logarithmic { 10f64.powf(place) } else { place };
        // Without the noise of the logarithm.
        let value = (value * 1e6).round() / 1e6;
        format!("{value}")
    }
}

fn colour(series: usize) -> RGBColor {
    COLOURS[series % COLOURS.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_climbs_by_a_share_at_each_value() {
        let steps = distribution([3.0, 1.0], &(0.5..10.0));
        assert_eq!(steps, [(0.5, 0.0), (1.0, 0.0), (1.0, 0.5), (3.0, 0.5), (3.0, 1.0), (10.0, 1.0)]);
    }

    #[test]
    fn a_distribution_of_many_values_is_thinned_and_still_ends_at_one() {
        let steps = distribution((1..=10_007).map(f64::from), &(1.0..20_000.0));
        assert!(steps.len() <= 2 * MAX_STEPS + 4, "{}", steps.len());
        assert_eq!(steps.last(), Some(&(20_000.0, 1.0)));
        assert_eq!(steps[steps.len() - 2], (10_007.0, 1.0));
    }

    #[test]
    fn a_logarithmic_axis_is_marked_at_the_powers_of_ten() {
        let axis = Axis { label: "ms", range: 0.1..1000.0, logarithmic: true };
        assert_eq!(axis.marks(), 5);
        assert_eq!([-1.0, 0.0, 3.0].map(|place| axis.mark(place)), ["0.1", "1", "1000"]);
        assert_eq!(axis.place(0.0), -1.0, "what is off the axis is at its end");
    }
}
