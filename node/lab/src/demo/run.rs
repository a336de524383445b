//! Sequence of a demo run, from the set-up of the federation to the verification.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
};

use serde::de::DeserializeOwned;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};

use super::{
    DemoError, DemoResult, Disclosed, Keep, KeptNodes, Options, Tamper, alerts,
    cast::{self, HUB, Member, POLICE, PORT, TERMINAL},
    data::{OfficeRows, SEED, Source},
    exchange, federation,
    folder::Folder,
    kept::{self, Names},
    node,
    people::{People, json},
    process::NodeProcess,
    records::{self, Planned, Target},
    report::{LeastCountReport, OfficeReport, Report},
    show::Show,
    tamper::{self, Relay},
};
use portcullis_admin_api::{
    act::Action,
    client::Client,
    v1::{
        ListView,
        act::{DraftsView, PublishedView},
        score::{ImportedView, PublishedProfileView},
    },
};
use portcullis_desk::{DeskState, Setup, figures::FiguresView};
use portcullis_home::{
    Home,
    files::{self, Access},
};

/// Policy of the port authority: it takes in no record that nobody can assess.
const PORT_POLICY: &str = include_str!("port.cedar");

/// Longest path of a socket, in bytes, without the zero that ends it (`unix(7)`).
const LONGEST_SOCKET: usize = 107;

/// Policy of an office that keeps its risk profile to itself.
const WITHHOLDING_POLICY: &str = include_str!("withholding.cedar");

/// Runs a demo from set-up to verification.
///
/// # Errors
///
/// [`DemoError`] says what failed. The nodes have ended by then and their folder is removed.
pub async fn run(options: &Options, show: &Show) -> Result<DemoResult, DemoError> {
    let mut interrupts = Interrupts::listen()?;
    tokio::select! {
        outcome = play(options, show) => outcome,
        () = interrupts.heard() => Err(DemoError::Interrupted),
    }
}

/// Signals that end the demo: Ctrl-C and a request to terminate.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn listen() -> Result<Self, DemoError> {
        let listen = |kind| {
            signal(kind).map_err(|source| DemoError::System {
                path: PathBuf::from("signals"),
                source,
            })
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn heard(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Rows of every office.
struct Rows {
    history: BTreeMap<String, OfficeRows>,
    arriving: BTreeMap<String, OfficeRows>,
}

/// A place for a federation: its folder and its names, which go when the demo ends.
struct Place {
    folder: Folder,
    names: Option<Names>,
}

/// A federation under way. The nodes end before their folder is removed.
struct Cast {
    nodes: BTreeMap<String, NodeProcess>,
    people: People,
    relay: Option<Relay>,
    place: Place,
}

async fn play(options: &Options, show: &Show) -> Result<DemoResult, DemoError> {
    check(options)?;
    let members = cast::members(&options.offices)?;
    let place = Place::take(options, &members)?;
    let rows = read(options, show).await?;
    let targets = records::targets(&rows.arriving);
    let alerts = targets.get(..options.alerts).ok_or(DemoError::Targets {
        wanted: options.alerts,
        found: targets.len(),
    })?;
    let mut stage = set_the_stage(options, place, members, show).await?;
    load(&stage, &options.offices, &rows, show).await?;
    profiles(&stage, &options.offices, show).await?;
    let figures = score(&stage, &options.offices, show).await?;
    let planned = records::indicators(&rows.arriving, &office_name(options, 1));
    let disclosures = indicators(&stage, &planned, show).await?;
    let alerts = raise(&stage, alerts, show).await?;
    let exchange = verify(&stage, show).await?;
    let findings = match (options.tamper, planned.first()) {
        (Tamper::Yes, Some(planned)) => flip(&mut stage, options, planned, show).await?,
        (Tamper::Yes | Tamper::No, _) => Vec::new(),
    };
    let kept = match options.keep {
        Keep::Yes { .. } => Some(stage.keep(options, &disclosures, &targets)?),
        Keep::No => None,
    };
    Ok(DemoResult {
        report: Report {
            offices: options
                .offices
                .iter()
                .zip(&figures)
                .map(|(office, figures)| OfficeReport::of(office, figures))
                .collect(),
            overall: OfficeReport::overall(&figures),
            least_counts: LeastCountReport::overall(&figures),
            exchange,
            alerts,
            nodes: stage.nodes.len(),
            seconds: show.elapsed().as_secs_f64(),
        },
        disclosures,
        findings,
        kept,
    })
}

/// Checks what is asked for, as far as no file is needed for it.
fn check(options: &Options) -> Result<(), DemoError> {
    let offices: BTreeSet<&String> = options.offices.iter().collect();
    if offices.len() < 2 || offices.len() != options.offices.len() {
        return Err(DemoError::Offices(offices.len()));
    }
    let mut withholding = options.withholding.iter();
    match withholding.find(|office| !offices.contains(office)) {
        Some(office) => Err(DemoError::Withholding {
            office: office.clone(),
            offices: options.offices.clone(),
        }),
        None => Ok(()),
    }
}

impl Place {
    /// Makes the demo's folder, and takes the names of nodes that are to be kept.
    fn take(options: &Options, members: &[Member]) -> Result<Self, DemoError> {
        let folder = Folder::make()?;
        for member in members {
            let socket = Home::new(folder.path().join(member.node.as_str())).socket();
            if socket.as_os_str().len() > LONGEST_SOCKET {
                return Err(DemoError::LongPath(socket));
            }
        }
        let names = match &options.keep {
            Keep::Yes { nodes_folder } => Some(Names::take(nodes_folder, folder.path(), members)?),
            Keep::No => None,
        };
        Ok(Self { folder, names })
    }
}

/// Returns the name of the node of the office at this place in the list.
fn office_name(options: &Options, place: usize) -> String {
    let office = options.offices.get(place).map_or("", String::as_str);
    format!("customs-{office}")
}

async fn read(options: &Options, show: &Show) -> Result<Rows, DemoError> {
    let step = show.step("Reading the declarations");
    let options = options.clone();
    let rows = apart(move || {
        let Setup { schema, .. } = Setup::shipped()?;
        let cut = |source: &Source| source.by_office(&schema, &options.offices, options.rows);
        Ok(Rows {
            history: cut(&Source::history(options.history.clone()))?,
            arriving: cut(&Source::arriving(options.arriving.clone()))?,
        })
    })
    .await?;
    let count = |rows: &BTreeMap<String, OfficeRows>| -> usize {
        rows.values().map(|rows| rows.consignments.len()).sum()
    };
    let (history, arriving) = (count(&rows.history), count(&rows.arriving));
    step.done(&format!("{history} of the past, {arriving} arriving"));
    Ok(rows)
}

/// Runs work for processor or disk outside the runtime's own threads.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DemoError> + Send + 'static,
) -> Result<T, DemoError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| DemoError::CutShort)?
}

async fn set_the_stage(
    options: &Options,
    place: Place,
    members: Vec<Member>,
    show: &Show,
) -> Result<Cast, DemoError> {
    let count = members.len();
    let step = show.step("Setting up the federation");
    let between = match options.tamper {
        Tamper::Yes => Some(stand_between().await?),
        Tamper::No => None,
    };
    let watched = office_name(options, 0);
    let announced = between.as_ref().map(|(_, address)| *address);
    let root = place.folder.path().to_owned();
    let seats = apart(move || {
        federation::set_up(&root, members, &|member: &Member, listens: SocketAddr| {
            announced
                .filter(|_| member.node.as_str() == watched)
                .unwrap_or(listens)
        })
    })
    .await?;
    let relay = between.and_then(|(listener, _)| {
        let watched = seats
            .iter()
            .find(|seat| seat.ports.announced != seat.ports.exchange)?;
        Some(Relay::start(listener, watched.ports.exchange))
    });
    step.done(&format!(
        "keys, certificates of {count} authorities, a register with 2 of 3 signatures"
    ));
    let step = show.step("Starting the nodes");
    let mut nodes = BTreeMap::new();
    for seat in seats {
        write_policy(options, &seat)?;
        federation::seal_settings(&seat.home)?;
        let name = seat.member.node.to_string();
        nodes.insert(name, NodeProcess::start(seat.member, seat.home)?);
    }
    let people = People::make();
    for (name, node) in &mut nodes {
        step.at(name);
        node.ready().await?;
        people.enrol(node).await?;
    }
    step.done(&format!(
        "{} processes, two persons enrolled at each",
        nodes.len()
    ));
    Ok(Cast {
        nodes,
        people,
        relay,
        place,
    })
}

/// Binds a listener for a relay between two nodes.
async fn stand_between() -> Result<(TcpListener, SocketAddr), DemoError> {
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .map_err(DemoError::Ports)?;
    let address = listener.local_addr().map_err(DemoError::Ports)?;
    Ok((listener, address))
}

fn write_policy(options: &Options, seat: &federation::Seat) -> Result<(), DemoError> {
    let withholds = |office: &String| options.withholding.contains(office);
    let policy = match &seat.member.office {
        Some(office) if withholds(office) => ("withholding.cedar", WITHHOLDING_POLICY),
        None if seat.member.node.as_str() == PORT => ("port.cedar", PORT_POLICY),
        Some(_) | None => return Ok(()),
    };
    let (name, text) = policy;
    let path = seat.home.policy().join(name);
    Ok(files::create(&path, text.as_bytes(), Access::Everyone)?)
}

impl Cast {
    fn office(&self, office: &str) -> Result<&NodeProcess, DemoError> {
        node(&self.nodes, &format!("customs-{office}"))
    }

    /// Lets the nodes go on running, with keys for a reader and commands to try.
    fn keep(
        &mut self,
        options: &Options,
        disclosures: &[Disclosed],
        targets: &[Target],
    ) -> Result<KeptNodes, DemoError> {
        let folder = self.place.folder.path().to_owned();
        let environment = kept::write_environment(&folder, &self.people)?;
        self.place.folder.keep()?;
        if let Some(names) = &mut self.place.names {
            names.keep();
        }
        for node in self.nodes.values_mut() {
            node.keep();
        }
        let mut commands = vec![format!(". {}", kept::quoted(&environment))];
        commands.extend(looks(disclosures, targets));
        commands.extend(targets.last().into_iter().flat_map(acts));
        commands.extend(decision(options, disclosures));
        commands.push("portcullis-lab demo --stop".to_owned());
        Ok(KeptNodes {
            folder,
            environment,
            commands,
        })
    }
}

/// Commands that look at what the demo did.
fn looks(disclosures: &[Disclosed], targets: &[Target]) -> Vec<String> {
    let mut commands = vec![format!("portcullis -n {POLICE} status")];
    if let Some(disclosed) = disclosures.first() {
        let record = short(&disclosed.record);
        commands.push(format!("portcullis -n {POLICE} show {record}"));
        commands.push(format!("portcullis -n {TERMINAL} show {record}"));
    }
    if let Some(Target {
        office, reference, ..
    }) = targets.first()
    {
        commands.push(format!("portcullis -n customs-{office} score {reference}"));
    }
    commands
}

/// Commands that publish a record about a consignment, and see it arrive and count at its office.
fn acts(target: &Target) -> Vec<String> {
    let Target {
        office, reference, ..
    } = target;
    let (container, flags) = (target.container(), target.flags());
    vec![
        format!(
            "portcullis -n {POLICE} indicator publish {flags} --evaluation B2 --threat narcotics \
             --tlp AMBER --text 'seen on the quay'"
        ),
        format!("portcullis -n customs-{office} list --about {container}"),
        format!(
            "portcullis -n {POLICE} alert raise {flags} --evaluation A1 --threat narcotics \
             --tlp AMBER --text 'stop it now'"
        ),
        format!("portcullis -n customs-{office} score {reference}"),
    ]
}

/// Commands that see what waits for a person at the second office, and take it in.
fn decision(options: &Options, disclosures: &[Disclosed]) -> Vec<String> {
    let node = office_name(options, 1);
    let mut held = disclosures.iter().filter(|one| one.shows == records::HELD);
    let Some(Disclosed { record, .. }) = held.next() else {
        return Vec::new();
    };
    vec![
        format!("portcullis -n {node} hold list"),
        format!(
            "portcullis -n {node} hold release {} --reason 'read: the restriction fits us'",
            short(record)
        ),
    ]
}

fn short(record: &str) -> &str {
    record.get(..12).unwrap_or(record)
}

/// Step 1: loads each office's own declarations into its own node.
async fn load(stage: &Cast, offices: &[String], rows: &Rows, show: &Show) -> Result<(), DemoError> {
    let step = show.step("1 Loading each office's own declarations");
    let mut sum = 0;
    for office in offices {
        step.at(&format!("office {office}"));
        let node = stage.office(office)?;
        for (name, rows) in [("history", &rows.history), ("arriving", &rows.arriving)] {
            let Some(rows) = rows.get(office) else {
                continue;
            };
            let parameters = BTreeMap::from([
                ("stage".to_owned(), name.to_owned()),
                ("seed".to_owned(), SEED.0.to_string()),
            ]);
            let imported: ImportedView = stage
                .people
                .act(
                    node,
                    Action::ImportConsignments,
                    parameters,
                    rows.csv.clone().into(),
                )
                .await?;
            sum += imported.consignments;
        }
    }
    step.done(&format!("{sum} consignments in {} stores", offices.len()));
    Ok(())
}

/// Step 2: exchanges risk profiles, directly and over the hub.
async fn profiles(stage: &Cast, offices: &[String], show: &Show) -> Result<(), DemoError> {
    let step = show.step("2 Exchanging signed risk profiles");
    let (mut cells, mut records) = (0, 0);
    for office in offices {
        step.at(&format!("office {office} seals its own"));
        let node = stage.office(office)?;
        let published: ListView<PublishedProfileView> = stage
            .people
            .act(node, Action::PublishProfile, BTreeMap::new(), json(&())?)
            .await?;
        cells += published.items.iter().map(|item| item.cells).sum::<usize>();
        records += published
            .items
            .iter()
            .map(|item| item.records.len())
            .sum::<usize>();
    }
    exchange::settled(&stage.nodes, &step).await?;
    step.done(&format!(
        "{cells} cells in {records} records, answered by every member"
    ));
    Ok(())
}

/// Step 3: scores every arrival at its office, locally and with the federation's counts.
async fn score(
    stage: &Cast,
    offices: &[String],
    show: &Show,
) -> Result<Vec<FiguresView>, DemoError> {
    let step = show.step("3 Scoring every arrival twice");
    let mut working = JoinSet::new();
    for (n, office) in offices.iter().enumerate() {
        let node = stage.office(office)?;
        working.spawn(figures(
            n,
            node.member.node.to_string(),
            node.client.clone(),
        ));
    }
    let mut figures = BTreeMap::new();
    while let Some(ended) = working.join_next().await {
        let (n, view) = ended.map_err(|_| DemoError::CutShort)??;
        figures.insert(n, view);
        step.at(&format!("{} of {} offices", figures.len(), offices.len()));
    }
    let figures: Vec<FiguresView> = figures.into_values().collect();
    let arriving: u64 = figures.iter().map(|figures| figures.arriving).sum();
    step.done(&format!("{arriving} arrivals, each in its own node"));
    Ok(figures)
}

/// Waits until a node has scored its arrivals, and returns its figures.
async fn figures(
    n: usize,
    node: String,
    client: Client,
) -> Result<(usize, FiguresView), DemoError> {
    let asked = async {
        let _: DeskState = client.get("/v1/desk/settled").await?;
        client.get("/v1/figures").await
    };
    match asked.await {
        Ok(view) => Ok((n, view)),
        Err(source) => Err(DemoError::Client { node, source }),
    }
}

/// Step 4: publishes indicators, and shows who got what.
async fn indicators(
    stage: &Cast,
    planned: &[Planned],
    show: &Show,
) -> Result<Vec<Disclosed>, DemoError> {
    let step = show.step("4 Publishing indicators of the police");
    let police = node(&stage.nodes, POLICE)?;
    let mut disclosures = Vec::with_capacity(planned.len());
    for plan in planned {
        let body = json(&DraftsView {
            drafts: vec![plan.draft.clone()],
        })?;
        let published: PublishedView = stage
            .people
            .act(police, Action::Publish, BTreeMap::new(), body)
            .await?;
        disclosures.push(Disclosed {
            shows: plan.shows,
            record: published.records.into_iter().next().unwrap_or_default(),
            lines: Vec::new(),
        });
    }
    exchange::settled(&stage.nodes, &step).await?;
    let hub = node(&stage.nodes, HUB)?;
    for disclosed in &mut disclosures {
        disclosed.lines = exchange::who_got(police, Some(hub), &disclosed.record).await?;
    }
    step.done(&format!("{} records", disclosures.len()));
    Ok(disclosures)
}

/// Step 5: raises alerts and measures them.
async fn raise(
    stage: &Cast,
    targets: &[Target],
    show: &Show,
) -> Result<super::report::AlertsReport, DemoError> {
    let step = show.step("5 Raising alerts");
    quiet(stage).await?;
    let report = alerts::run(&stage.nodes, &stage.people, targets, &step).await?;
    exchange::settled(&stage.nodes, &step).await?;
    step.done(&format!("{} alerts", report.count));
    Ok(report)
}

/// Waits until no node has anything left to score.
async fn quiet(stage: &Cast) -> Result<(), DemoError> {
    for node in stage.nodes.values() {
        let _: DeskState = node.get("/v1/desk/settled").await?;
    }
    Ok(())
}

/// Step 6: checks that every held record verifies and that the counts add up.
async fn verify(stage: &Cast, show: &Show) -> Result<super::report::ExchangeReport, DemoError> {
    let step = show.step("6 Verifying every record held anywhere");
    let report = exchange::report(&stage.nodes).await?;
    let sum = if report.adds_up() {
        "the counts add up"
    } else {
        "THE COUNTS DO NOT ADD UP"
    };
    step.done(&format!("{} verify; {sum}", report.verified));
    Ok(report)
}

/// Flips a bit in each of three places.
async fn flip(
    stage: &mut Cast,
    options: &Options,
    planned: &Planned,
    show: &Show,
) -> Result<Vec<tamper::Finding>, DemoError> {
    let step = show.step("Flipping bits");
    let mut findings = Vec::new();
    if let Some(relay) = &stage.relay {
        step.at("in transit");
        let office = office_name(options, 0);
        let found =
            tamper::in_transit(&stage.nodes, relay, &stage.people, planned, &office).await?;
        findings.push(found);
    }
    let terminal = stage
        .nodes
        .get_mut(TERMINAL)
        .ok_or_else(|| DemoError::NoNode(TERMINAL.to_owned()))?;
    step.at("in a store");
    findings.push(tamper::in_store(terminal).await?);
    step.at("in a register");
    findings.push(tamper::in_register(terminal).await?);
    let caught = findings
        .iter()
        .filter(|finding| finding.caught_by.is_some())
        .count();
    step.done(&format!("{caught} of {} caught", findings.len()));
    Ok(findings)
}

impl NodeProcess {
    /// Sends a GET request to the node's admin API.
    ///
    /// # Errors
    ///
    /// [`DemoError::Client`] if the node does not answer or refuses.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, DemoError> {
        self.client
            .get(path)
            .await
            .map_err(|source| DemoError::Client {
                node: self.member.node.to_string(),
                source,
            })
    }
}
