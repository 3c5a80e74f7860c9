//! How the cost of a callback grows along five lines. Along each, one number changes and the others
//! keep their usual values. Prints a table and draws `docs/growth.svg`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use twilio_acquire_bridge::debugging::bridge_status::thousands;

use super::load::{Load, Requests, TOKEN, call_sid};
use super::servers::{Mode, Server, file, folder};
use super::sink::{ArrivalSink, fails};
use super::size::{deliver_all, fill, in_store};

/// Callbacks per second: few enough for one connection.
const RATE: usize = 300;
/// The first position of the stored calls, behind those of the measured ones.
const STORED: usize = 1 << 30;
/// A call with 1,000 legs is planned for each of them.
const LIMIT: Duration = Duration::from_secs(1_800);

/// How exactly the lines are measured.
struct Scale {
    rounds: usize,
    /// In a round.
    callbacks: usize,
    /// Divides the number of stored calls.
    stored: usize,
}

const FULL: Scale = Scale {
    rounds: 3,
    callbacks: 3_000,
    stored: 1,
};

/// Shows in a minute or two that each line works.
const QUICK: Scale = Scale {
    rounds: 1,
    callbacks: 1_000,
    stored: 100,
};

#[derive(Clone, Copy)]
struct Workload {
    stored: usize,
    connections: usize,
    legs_per_call: usize,
    accounts: usize,
    failing_percent: usize,
}

const USUAL: Workload = Workload {
    stored: 0,
    connections: 64,
    legs_per_call: 1,
    accounts: 1,
    failing_percent: 0,
};

struct Line {
    name: &'static str,
    title: &'static str,
    values: &'static [usize],
    at: fn(usize) -> Workload,
}

const LINES: [Line; 5] = [
    Line {
        name: "stored",
        title: "Calls stored",
        values: &[0, 100_000, 1_000_000, 10_000_000],
        at: |stored| Workload { stored, ..USUAL },
    },
    Line {
        name: "connections",
        title: "Connections",
        values: &[1, 10, 100, 1_000],
        at: |connections| Workload {
            connections,
            ..USUAL
        },
    },
    Line {
        name: "callbacks",
        title: "Callbacks per call",
        values: &[1, 10, 100, 1_000],
        at: |legs_per_call| Workload {
            legs_per_call,
            ..USUAL
        },
    },
    Line {
        name: "accounts",
        title: "Accounts",
        values: &[1, 10, 100, 1_000],
        at: |accounts| Workload { accounts, ..USUAL },
    },
    Line {
        name: "failing",
        title: "Failing calls, percent",
        values: &[0, 1, 10, 50, 100],
        at: |failing_percent| Workload {
            failing_percent,
            ..USUAL
        },
    },
];

/// One value of a line; medians of its rounds.
struct Point {
    value: usize,
    /// Seconds of the bridge per 1,000 callbacks.
    cpu: f64,
    /// Milliseconds from the planned time to the answer.
    p50: f64,
    p99: f64,
}

/// The arguments: a part of a line's name, to measure it alone; and `quick`.
pub fn measure(arguments: impl Iterator<Item = String>) {
    let (quick, parts): (Vec<_>, Vec<_>) = arguments.partition(|argument| argument == "quick");
    let scale = if quick.is_empty() { FULL } else { QUICK };
    let is_wanted = |line: &&Line| parts.iter().all(|part| line.name.contains(part));
    println!("| line | value | CPU s per 1,000 callbacks | of the first | answer p50 / p99 ms |");
    println!("| --- | --- | --- | --- | --- |");
    let measured: Vec<_> = LINES
        .iter()
        .filter(is_wanted)
        .map(|line| (line, points(line, &scale)))
        .collect();
    // Only figures that can be published replace the published chart.
    let is_complete = quick.is_empty() && parts.is_empty();
    let chart = if is_complete {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/growth.svg")
    } else {
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("growth.svg")
    };
    std::fs::write(&chart, svg(&measured)).expect("the chart is written");
    println!("\nchart: {}", chart.display());
}

/// The values take turns in each round, so that a slow minute of the machine meets all of them.
fn points(line: &Line, scale: &Scale) -> Vec<Point> {
    let folder = folder();
    let workloads: Vec<_> = line.values.iter().map(|&value| (line.at)(value)).collect();
    let stored = |workload: &Workload| workload.stored / scale.stored;
    for workload in workloads.iter().filter(|workload| stored(workload) > 0) {
        let database = stored_calls(folder.path(), stored(workload));
        in_store(&database, async |store| {
            fill(&store, STORED..STORED + stored(workload)).await;
            deliver_all(&store).await;
        });
    }
    if workloads.iter().any(|workload| stored(workload) > 0) {
        eprintln!("the calls are stored");
    }
    let mut figures = vec![[const { Vec::new() }; 3]; workloads.len()];
    let mut first = 0;
    for round in 1..=scale.rounds {
        for (number, &workload) in workloads.iter().enumerate() {
            let database = match stored(&workload) {
                0 => folder.path().join(format!("{number}-{round}.db")),
                calls => stored_calls(folder.path(), calls),
            };
            let measured = measure_once(workload, &database, first, scale.callbacks);
            first += scale.callbacks;
            for (figures, figure) in figures[number].iter_mut().zip(measured) {
                figures.push(figure);
            }
        }
    }
    let mut points: Vec<Point> = Vec::new();
    for ((figures, workload), value) in figures.iter_mut().zip(&workloads).zip(line.values) {
        let [cpu, p50, p99] = figures.each_mut().map(|figures| super::median(figures));
        let value = match stored(workload) {
            0 => *value,
            calls => calls,
        };
        let of_first = cpu / points.first().map_or(cpu, |point| point.cpu);
        println!(
            "| {} | {} | {cpu:.3} | {of_first:.2} | {p50:.2} / {p99:.2} |",
            line.title.to_lowercase(),
            thousands(value as u64)
        );
        points.push(Point {
            value,
            cpu,
            p50,
            p99,
        });
    }
    points
}

fn stored_calls(folder: &Path, calls: usize) -> PathBuf {
    folder.join(format!("{calls}-stored.db"))
}

/// CPU seconds per 1,000 callbacks, and p50 and p99 of the answers.
fn measure_once(workload: Workload, database: &Path, first: usize, callbacks: usize) -> [f64; 3] {
    let requests = requests(workload, first, callbacks);
    let sink = ArrivalSink::failing(first + callbacks, workload.failing_percent);
    let config = accounts_file(database, workload.accounts);
    let settings = [
        ("BRIDGE_CONFIG", &*config),
        // The file has the accounts.
        ("TWILIO_AUTH_TOKEN", ""),
        ("ACQUIRE_ACCOUNT_ID", ""),
    ];
    let acquire = sink.address.to_string();
    let server = Server::with(Mode::Bridge, &file(database), &acquire, "30d", &settings);
    let before = server.cpu_seconds();
    let load = Load::fixed_rate(server.address, &requests, workload.connections, RATE);
    let is_good = |position: &usize| !fails(*position, workload.failing_percent);
    sink.wait_for((first..first + callbacks).filter(is_good).count(), LIMIT);
    let cpu = (server.cpu_seconds() - before) * 1_000.0 / callbacks as f64;
    [cpu, load.percentile(50), load.percentile(99)]
}

/// Ended calls in turn of all accounts. Callbacks of one call report its legs, each of which has a call-end,
/// so that every callback is sent; all calls take turns, so that each callback finds its call idle.
fn requests(workload: Workload, first: usize, callbacks: usize) -> Requests {
    let calls = callbacks / workload.legs_per_call;
    let ended = Requests::signed(callbacks).terminal_only();
    ended.varied(first, move |position, mut body| {
        let parent = first + (position - first) % calls;
        if parent != position {
            body = format!("{body}&ParentCallSid={}", call_sid(parent));
        }
        let at = body.find("AccountSid=AC").expect("an AccountSid") + "AccountSid=".len();
        body.replace_range(at..at + 34, &account_sid(parent % workload.accounts));
        body
    })
}

fn accounts_file(database: &Path, accounts: usize) -> String {
    let mut lines = String::new();
    for number in 0..accounts {
        // Writing to a String cannot fail.
        let _ = write!(
            lines,
            "[[accounts]]\ntwilio_account_sid = \"{}\"\ntwilio_auth_tokens = [\"{TOKEN}\"]\n\
             acquire_account_id = \"account-{number}\"\n",
            account_sid(number)
        );
    }
    let path = database.with_extension("toml");
    std::fs::write(&path, lines).expect("a file");
    path.display().to_string()
}

fn account_sid(number: usize) -> String {
    format!("AC{number:032x}")
}

/// The plot of a panel, and the panel around it.
const PLOT: (f64, f64) = (300.0, 110.0);
const PANEL: (f64, f64) = (380.0, 210.0);
const COLUMNS: usize = 2;

/// A panel for each line. Each axis of CPU time starts at 0, so that heights can be compared.
fn svg(lines: &[(&Line, Vec<Point>)]) -> String {
    let (mut panels, mut described) = (String::new(), String::new());
    for (number, (line, points)) in lines.iter().enumerate() {
        let x = (number % COLUMNS) as f64 * PANEL.0 + 50.0;
        let y = (number / COLUMNS) as f64 * PANEL.1 + 70.0;
        let panel = panel(line, points);
        let _ = writeln!(panels, "<g transform=\"translate({x} {y})\">\n{panel}</g>");
        let values = points.iter().map(|point| {
            let Point { cpu, p50, p99, .. } = point;
            let value = thousands(point.value as u64);
            format!("{cpu:.3} s at {value} (answers {p50:.1} ms, p99 {p99:.1} ms)")
        });
        let values = values.collect::<Vec<_>>().join(", ");
        let _ = write!(described, " {}: {values}.", line.title);
    }
    let (width, height) = (
        COLUMNS.min(lines.len()) as f64 * PANEL.0 + 30.0,
        lines.len().div_ceil(COLUMNS) as f64 * PANEL.1 + 30.0,
    );
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-labelledby=\"title desc\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n\
         <title id=\"title\">How the CPU time of a callback grows</title>\n\
         <desc id=\"desc\">CPU seconds of the bridge per 1,000 callbacks.{described}</desc>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"15\" y=\"24\">CPU seconds of the bridge per 1,000 callbacks, {RATE} per second, \
         SQLite</text>\n{panels}</svg>\n"
    )
}

fn panel(line: &Line, points: &[Point]) -> String {
    let most = points.iter().map(|point| point.cpu).fold(0.0, f64::max);
    let (width, height) = PLOT;
    let x = |number: usize| (number as f64 + 0.5) * width / points.len() as f64;
    // Room for the label of the highest point.
    let y = |cpu: f64| height - cpu / most * (height - 20.0);
    let mut panel = format!(
        "<path d=\"M0 0V{height}H{width}\" fill=\"none\" stroke=\"#222\"/>\n\
         <text x=\"-6\" y=\"{height}\" text-anchor=\"end\">0</text>\n\
         <text x=\"-6\" y=\"24\" text-anchor=\"end\">{most:.2}</text>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\" font-weight=\"bold\">{}</text>\n",
        width / 2.0,
        height + 38.0,
        line.title
    );
    let at = |(number, point): (usize, &Point)| format!("{:.1},{:.1}", x(number), y(point.cpu));
    let path: Vec<_> = points.iter().enumerate().map(at).collect();
    let _ = writeln!(
        panel,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#0b5394\" stroke-width=\"2\"/>",
        path.join(" ")
    );
    for (number, point) in points.iter().enumerate() {
        let (x, y) = (x(number), y(point.cpu));
        let _ = writeln!(
            panel,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"#0b5394\"/>\n\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" stroke=\"#fff\" stroke-width=\"3\" \
             paint-order=\"stroke\">{:.2}</text>\n\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            y - 8.0,
            point.cpu,
            height + 18.0,
            thousands(point.value as u64)
        );
    }
    panel
}
