package report

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"

	"tangaroa/bench/run"
)

// palette is one that people with any eyes can tell apart (Okabe and Ito, 2008).
var palette = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 0xff}, color.RGBA{0x56, 0xb4, 0xe9, 0xff},
	color.RGBA{0x00, 0x9e, 0x73, 0xff}, color.RGBA{0xe6, 0x9f, 0x00, 0xff},
	color.RGBA{0xd5, 0x5e, 0x00, 0xff}, color.RGBA{0xcc, 0x79, 0xa7, 0xff},
	color.RGBA{0x99, 0x99, 0x99, 0xff},
}

// The size of one panel of a chart.
const (
	panelWidth  = 11 * vg.Centimeter
	panelHeight = 8 * vg.Centimeter
)

// chart is panels side by side.
type chart struct {
	name   string
	panels []*plot.Plot
}

// writeCharts writes each chart for which there is something to show, as SVG and PNG.
func (r *Report) writeCharts(dir string) error {
	charts := []chart{
		{"throughput", r.panels("operations per second", bars(Rate))},
		{"latency", r.panels("milliseconds", latencyBars)},
		{"scaling", r.scaling()},
		{"cost", r.cost()},
	}
	var errs []error
	for _, c := range charts {
		if len(c.panels) > 0 {
			errs = append(errs, c.write(dir))
		}
	}
	return errors.Join(errs...)
}

func (c chart) write(dir string) error {
	w, h := panelWidth*vg.Length(len(c.panels)), panelHeight
	image := vgimg.NewWith(vgimg.UseWH(w, h), vgimg.UseDPI(120))
	c.draw(draw.New(image))
	drawing := vgsvg.New(w, h)
	c.draw(draw.New(drawing))
	return errors.Join(
		save(filepath.Join(dir, c.name+".png"), vgimg.PngCanvas{Canvas: image}),
		save(filepath.Join(dir, c.name+".svg"), drawing))
}

func (c chart) draw(dc draw.Canvas) {
	tiles := draw.Tiles{Rows: 1, Cols: len(c.panels), PadX: vg.Millimeter * 4}
	canvases := plot.Align([][]*plot.Plot{c.panels}, tiles, dc)
	for i, p := range c.panels {
		p.Draw(canvases[0][i])
	}
}

func save(path string, c vg.CanvasWriterTo) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write a chart: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = c.WriteTo(f)
	return err
}

func newPlot(title, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.Y.Label.Text = title, y
	p.BackgroundColor = color.White
	p.Y.Min = 0
	return p
}

// label names the bars, and leaves room beside them and for a legend above.
func label(p *plot.Plot, names []string) {
	const headroom = 1.8
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.5, float64(len(names))-0.5
	p.Y.Max *= headroom
}

// plain are workloads in which nothing else varies than size and what is outstanding.
func (r *Report) plain(nodes int) []*Group {
	var out []*Group
	for i := range r.Groups {
		w := r.Groups[i].Workload
		if w.Nodes == nodes && w.Reads == 0 && w.Dead == 0 && !w.KillLeader && w.Adversary == "" &&
			len(names(&r.Groups[i])) > 0 {
			out = append(out, &r.Groups[i])
		}
	}
	return out
}

// names are the contestants of a group that have something to show.
func names(g *Group) []string {
	var out []string
	for i := range g.Rows {
		if len(g.Rows[i].Valid()) > 0 {
			out = append(out, g.Rows[i].Contestant)
		}
	}
	return out
}

// panels makes a panel of bars for each plain workload of four nodes and the smallest values.
func (r *Report) panels(y string, fill func(*plot.Plot, *Group) error) []*plot.Plot {
	groups := r.plain(4)
	smallest := math.MaxInt
	for _, g := range groups {
		smallest = min(smallest, g.Workload.ValueBytes)
	}
	var out []*plot.Plot
	for _, g := range groups {
		if g.Workload.ValueBytes != smallest {
			continue
		}
		p := newPlot(fmt.Sprintf("%d B, %d outstanding", smallest, g.Workload.Outstanding), y)
		if fill(p, g) == nil {
			label(p, names(g))
			out = append(out, p)
		}
	}
	return out
}

// bars draws a bar for each contestant, of its own colour.
func bars(f Figure) func(*plot.Plot, *Group) error {
	return func(p *plot.Plot, g *Group) error {
		for i, name := range names(g) {
			b, err := bar(g.Row(name).Of(f).Median, vg.Centimeter, palette[i%len(palette)])
			if err != nil {
				return err
			}
			b.XMin = float64(i)
			p.Add(b)
		}
		return nil
	}
}

func bar(v float64, width vg.Length, c color.Color) (*plotter.BarChart, error) {
	b, err := plotter.NewBarChart(plotter.Values{v}, width)
	if err != nil {
		return nil, err
	}
	b.Color, b.LineStyle.Width = c, 0
	return b, nil
}

// latencyBars draws the median and, beside it, what one of a hundred exceeds.
func latencyBars(p *plot.Plot, g *Group) error {
	kinds := []struct {
		title string
		pick  Figure
	}{
		{"p50", func(o *run.Outcome) float64 { return o.Result.Latency.P50 }},
		{"p99", func(o *run.Outcome) float64 { return o.Result.Latency.P99 }},
	}
	const width = vg.Centimeter / 2
	for k, kind := range kinds {
		var values plotter.Values
		for _, name := range names(g) {
			values = append(values, g.Row(name).Of(kind.pick).Median)
		}
		b, err := plotter.NewBarChart(values, width)
		if err != nil {
			return err
		}
		b.Color, b.LineStyle.Width = palette[k], 0
		b.Offset = width*vg.Length(k) - width/2
		p.Add(b)
		p.Legend.Add(kind.title, b)
	}
	p.Legend.Top = true
	return nil
}

// scaling shows how throughput falls as nodes share the machine: one line for each contestant
// that was measured with several cluster sizes, at the most that was outstanding.
func (r *Report) scaling() []*plot.Plot {
	lines := map[string]plotter.XYs{}
	var order []string
	sizes := map[int]bool{}
	for n := range 65 {
		var widest *Group
		for _, g := range r.plain(n) {
			if widest == nil || g.Workload.Outstanding > widest.Workload.Outstanding {
				widest = g
			}
		}
		if widest == nil {
			continue
		}
		sizes[n] = true
		for _, name := range names(widest) {
			if !slices.Contains(order, name) {
				order = append(order, name)
			}
			lines[name] = append(lines[name],
				plotter.XY{X: float64(n), Y: widest.Row(name).Of(Rate).Median})
		}
	}
	if len(sizes) < 2 {
		return nil
	}
	p := newPlot("the same machine, more nodes", "operations per second")
	p.X.Label.Text = "nodes"
	for i, name := range order {
		line, points, err := plotter.NewLinePoints(lines[name])
		if err != nil {
			continue
		}
		line.Color, points.Color = palette[i%len(palette)], palette[i%len(palette)]
		p.Add(line, points)
		p.Legend.Add(name, line, points)
	}
	p.Legend.Top = true
	return []*plot.Plot{p}
}

// cost shows where the processor time of an operation goes, for each workload that was profiled.
func (r *Report) cost() []*plot.Plot {
	var out []*plot.Plot
	for i := range r.Groups {
		g := &r.Groups[i]
		var profiled []*Row
		var titles []string
		for k := range g.Rows {
			if row := &g.Rows[k]; row.Cost != nil {
				profiled, titles = append(profiled, row), append(titles, row.Contestant)
			}
		}
		if len(profiled) == 0 {
			continue
		}
		w := g.Workload
		p := newPlot(fmt.Sprintf("%d B, %d outstanding", w.ValueBytes, w.Outstanding),
			"processor time, microseconds per operation")
		if stack(p, profiled) == nil {
			label(p, titles)
			out = append(out, p)
		}
	}
	return out
}

func stack(p *plot.Plot, rows []*Row) error {
	var below *plotter.BarChart
	for k, part := range Parts() {
		var values plotter.Values
		for _, row := range rows {
			values = append(values, row.Cost[part])
		}
		b, err := plotter.NewBarChart(values, vg.Centimeter)
		if err != nil {
			return err
		}
		b.Color, b.LineStyle.Width = palette[k%len(palette)], 0
		if below != nil {
			b.StackOn(below)
		}
		below = b
		p.Add(b)
		p.Legend.Add(part, b)
	}
	p.Legend.Top = true
	return nil
}
