//! A fork server, its client and its forks: `os-unix`'s `forkserver` and the facade's `process::server`, one system call a step.
//!
//! The client has two threads: one asks for children, one after the other, and joins them; the other may end the program
//! meanwhile. Whoever is there may be killed in any state, and the server be stopped for good. What the kernel does by itself is
//! a step that one may count on: closed sockets and lifelines are noticed, tied processes killed, orphans reaped.

use super::checker::{Protocol, Steps};
use super::{
    Case, Expect,
    Expect::{Stuck, Unsafe},
};
use Mutant::*;

const SERVERS: usize = 2;
const CHILDREN: usize = 2;
/// Reports that the socket takes.
const MOST_REPORTS: u32 = 1;

const ASKER: usize = 0;
const ENDER: usize = 1;
const FIRST_SERVER: usize = 2;
const FIRST_FORK: usize = FIRST_SERVER + SERVERS;

const NONE: u8 = u8::MAX;

/// Where the thread that asks is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Ask {
    Find,
    /// Waits until the server serves.
    Ready,
    Send,
    /// The second packet, of those descriptors that the first had no room for.
    SendLast,
    Await,
    /// Names the fork by its number.
    Name,
    Message,
    Gone,
    Join,
    Done,
}

/// Where the thread that ends the program is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum End {
    Idle,
    Join,
    Take,
    Finish,
    Grace,
    Exit,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Serve {
    Unmade,
    Begins,
    Poll,
    Forget,
    Tell,
    Reap,
    Receive,
    Fork,
    Reply,
    /// It could not fork.
    Refuse,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Server {
    at: Serve,
    ready: bool,
    stopped: bool,
    /// This process ends, and told it so.
    over: bool,
    /// The client sends no more.
    shut: bool,
    /// Packets that it has not read, and those that it read of the request under way.
    inbox: u8,
    got: u8,
    /// Whom the request is for.
    child: u8,
    /// The signal of a fork's end came.
    notice: bool,
    /// A fork's end is still to be told: the socket was full.
    waiting: bool,
    /// What `poll` said of the requests.
    asked: bool,
    /// The fork whose end is told, and not reaped yet.
    told: u8,
    /// In the client's sockets: a reply (1), a refusal (2); reports, one bit a child.
    reply: u8,
    reports: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Run {
    Unmade,
    Reading,
    Begun,
    Zombie,
    Gone,
}

/// The fork that a server made for a child, and its lifeline.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Fork {
    run: Run,
    /// The client keeps its end of the lifeline.
    open: bool,
    message: bool,
    /// The client knows how it ended.
    told: bool,
    /// Somebody else has its number.
    stranger: bool,
}

/// All of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// The client has ended.
    gone: bool,
    ask: Ask,
    /// Who is asked for, or joined; and whom the thread asks.
    child: u8,
    asks: u8,
    end: End,
    ends: u8,
    /// The server in the client's table.
    table: u8,
    started: u8,
    /// Whose fork each child is, if it is entered.
    entered: [u8; CHILDREN],
    begun: [u8; CHILDREN],
    server: [Server; SERVERS],
    fork: [[Fork; SERVERS]; CHILDREN],
}

/// A planted mistake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    MessageWithRequest,
    KeepsLifeline,
    KeepsSockets,
    ForgetsLast,
    DropsReport,
    ReapsFirst,
    EndTakesRequestLock,
    EndTakesTableLock,
    NoLookAtZombie,
    UnknownWhileAlive,
    ServerUntied,
    ForkUntied,
    AsksTheSame,
    NoIdentity,
}

/// Who takes part.
#[derive(Clone, Copy, Debug)]
pub struct ForkServer {
    /// Packets of one request.
    pub packets: u8,
    /// The program ends, whatever its other thread does.
    pub ends: bool,
    /// The server may be stopped, and nobody lets it go on.
    pub stops: bool,
    /// The server has descriptors of its forks to give.
    pub pidfds: bool,
    pub mutant: Option<Mutant>,
}

impl ForkServer {
    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Whether nobody holds the server's ends of the sockets any more.
    fn is_closed(&self, s: &State, server: usize) -> bool {
        let holds = |fork: &[Fork; SERVERS]| matches!(fork[server].run, Run::Reading | Run::Begun);
        s.server[server].at == Serve::Dead && !(self.is(KeepsSockets) && s.fork.iter().any(holds))
    }

    /// The thread goes on with the next child.
    fn next(n: &mut State) {
        n.asks = 0;
        n.child += 1;
        n.ask = match (n.ask, usize::from(n.child) < CHILDREN) {
            (Ask::Join, true) => Ask::Join,
            (Ask::Join, false) => Ask::Done,
            (_, true) => Ask::Find,
            (_, false) => {
                n.child = 0;
                Ask::Join
            }
        };
        if n.ask == Ask::Done {
            n.child = 0;
        }
    }

    fn ask(&self, s: &State, out: &mut Steps<State>) {
        let mut n = *s;
        let (child, at) = (usize::from(s.child), usize::from(s.asks));
        let server = &s.server[at.min(SERVERS - 1)];
        match s.ask {
            Ask::Done => {
                for of in 0..SERVERS {
                    self.read(s, ASKER, of, out);
                }
            }
            Ask::Find if s.table != NONE => {
                (n.ask, n.asks) = (Ask::Ready, s.table);
                out.step(ASKER, "takes the server from the table", n);
            }
            Ask::Find if usize::from(s.started) == SERVERS => {
                Self::next(&mut n);
                out.step(ASKER, "gives up: enough servers died", n);
            }
            Ask::Find => {
                n.server[usize::from(s.started)].at = Serve::Begins;
                (n.table, n.asks, n.ask) = (s.started, s.started, Ask::Ready);
                n.started += 1;
                out.step(ASKER, "starts a server", n);
            }
            Ask::Ready if server.ready => {
                n.fork[child][at].open = true;
                n.ask = Ask::Send;
                out.step(ASKER, "is told that the server serves, and makes a lifeline", n);
            }
            Ask::Ready if server.at == Serve::Dead => {
                n.table = if s.table == s.asks { NONE } else { s.table };
                Self::next(&mut n);
                out.step(ASKER, "is told that the server ended before it served", n);
            }
            Ask::Ready => {}
            Ask::Send | Ask::SendLast if self.is_closed(s, at) || server.shut => {
                n.ask = Ask::Gone;
                out.step(ASKER, "cannot send", n);
            }
            Ask::Send | Ask::SendLast => {
                n.server[at].inbox += 1;
                n.server[at].child = s.child;
                let more = s.ask == Ask::Send && self.packets == 2;
                n.ask = if more { Ask::SendLast } else { Ask::Await };
                n.fork[child][at].message |= !more && self.is(MessageWithRequest);
                out.step(ASKER, "sends a packet of the request", n);
            }
            Ask::Await if server.reply == 1 => {
                n.server[at].reply = 0;
                n.ask = if self.pidfds { Ask::Message } else { Ask::Name };
                out.step(ASKER, "reads the reply", n);
            }
            Ask::Await if server.reply == 2 => {
                n.server[at].reply = 0;
                n.fork[child][at].open = false;
                Self::next(&mut n);
                out.step(ASKER, "reads a refusal", n);
            }
            Ask::Await if self.is_closed(s, at) => {
                n.ask = Ask::Gone;
                out.step(ASKER, "sees the socket closed", n);
            }
            Ask::Await => {}
            Ask::Name if s.fork[child][at].stranger && self.is(NoIdentity) => {
                out.wrong(ASKER, "opens the number", "it takes a stranger for its child");
            }
            Ask::Name => {
                n.ask = Ask::Message;
                out.step(ASKER, "opens the number, and compares who it is", n);
            }
            Ask::Message => {
                n.fork[child][at].message = true;
                n.entered[child] = s.asks;
                Self::next(&mut n);
                out.step(ASKER, "writes the start message", n);
            }
            Ask::Gone => {
                n.fork[child][at].open = self.is(KeepsLifeline);
                if server.over {
                    Self::next(&mut n);
                    out.step(ASKER, "gives up: the program ends", n);
                    return;
                }
                if s.table == s.asks && !self.is(AsksTheSame) {
                    Self::end_server(&mut n, at);
                    n.table = NONE;
                }
                (n.ask, n.asks) = (Ask::Find, 0);
                out.step(ASKER, "drops the lifeline, and kills the server", n);
            }
            Ask::Join if s.entered[child] == NONE => {
                Self::next(&mut n);
                out.step(ASKER, "has no such child to join", n);
            }
            Ask::Join => self.join(s, ASKER, child, &mut |n| Self::next(n), out),
        }
    }

    /// Waits for a child's end: `then` once it is told.
    fn join(
        &self,
        s: &State,
        who: usize,
        child: usize,
        then: &mut dyn FnMut(&mut State),
        out: &mut Steps<State>,
    ) {
        let mut n = *s;
        let of = usize::from(s.entered[child]);
        let fork = s.fork[child][of];
        let ended = matches!(fork.run, Run::Zombie | Run::Gone);
        if self.read(s, who, of, out) {
            return;
        }
        if fork.told {
            then(&mut n);
            out.step(who, "was told how a fork ended", n);
        } else if self.is_closed(s, of) && (ended || self.is(UnknownWhileAlive)) {
            then(&mut n);
            let right = ended.then_some(n).ok_or("it says of a child that lives that it has ended");
            out.either(who, "will not be told how a fork ended", right);
        } else if fork.run == Run::Zombie && !self.is(NoLookAtZombie) {
            then(&mut n);
            out.step(who, "sees how a fork ended that lies there unreaped", n);
        }
    }

    /// Reads the reports of a server, as each look at a child does; false if there are none.
    fn read(&self, s: &State, who: usize, of: usize, out: &mut Steps<State>) -> bool {
        let reports = s.server[of].reports;
        let mut n = *s;
        for (child, fork) in n.fork.iter_mut().enumerate() {
            fork[of].told |= reports >> child & 1 != 0;
        }
        n.server[of].reports = 0;
        if reports != 0 {
            out.step(who, "reads the reports", n);
        }
        reports != 0
    }

    fn end(&self, s: &State, out: &mut Steps<State>) {
        let mut n = *s;
        match s.end {
            End::Idle => {
                n.end = End::Join;
                out.step(ENDER, "ends the program", n);
            }
            End::Join => {
                let lives = |child: &usize| {
                    let of = s.entered[*child];
                    of != NONE && !s.fork[*child][usize::from(of)].told
                };
                match (0..CHILDREN).find(lives) {
                    None => {
                        n.end = End::Take;
                        out.step(ENDER, "has waited for all children", n);
                    }
                    Some(child) => {
                        let of = usize::from(s.entered[child]);
                        self.join(s, ENDER, child, &mut |n| n.fork[child][of].told = true, out);
                    }
                }
            }
            End::Take if self.is(EndTakesTableLock) && s.ask == Ask::Ready => {}
            End::Take if s.table == NONE => {
                n.end = End::Exit;
                out.step(ENDER, "finds no server", n);
            }
            End::Take => {
                n.server[usize::from(s.table)].over = true;
                (n.ends, n.table, n.end) = (s.table, NONE, End::Finish);
                out.step(ENDER, "takes the server from the table", n);
            }
            End::Finish => {
                let asking =
                    matches!(s.ask, Ask::Send | Ask::SendLast | Ask::Await) && s.asks == s.ends;
                if !(self.is(EndTakesRequestLock) && asking) {
                    n.server[usize::from(s.ends)].shut = true;
                    n.end = End::Grace;
                    out.step(ENDER, "lets the server know that no request follows", n);
                }
            }
            End::Grace => {
                Self::end_server(&mut n, usize::from(s.ends));
                n.end = End::Exit;
                out.step(ENDER, "sees that the server has ended, or kills it", n);
            }
            End::Exit => {
                n.gone = true;
                out.step(ENDER, "exits", n);
            }
        }
    }

    fn end_server(n: &mut State, at: usize) {
        let Server { at: _, ready, over, reply, reports, .. } = n.server[at];
        n.server[at] = Server { at: Serve::Dead, ready, over, reply, reports, ..SERVER };
    }

    fn serve(&self, s: &State, i: usize, out: &mut Steps<State>) {
        let who = FIRST_SERVER + i;
        let me = s.server[i];
        let mut n = *s;
        if matches!(me.at, Serve::Unmade | Serve::Dead) {
            return;
        }
        Self::end_server(&mut n, i);
        out.luck(who, "is killed", n);
        if s.gone && !self.is(ServerUntied) {
            out.step(who, "is killed with its client", n);
        }
        n = *s;
        if self.stops {
            n.server[i].stopped = !me.stopped;
            out.luck(who, if me.stopped { "goes on" } else { "is stopped" }, n);
            n = *s;
        }
        if me.stopped {
            return;
        }
        let zombie = (0..CHILDREN).find(|child| s.fork[*child][i].run == Run::Zombie);
        let full = me.reports.count_ones() >= MOST_REPORTS;
        let server = &mut n.server[i];
        match me.at {
            Serve::Unmade | Serve::Dead => {}
            Serve::Begins => {
                (server.at, server.ready) = (Serve::Poll, true);
                out.step(who, "says that it serves", n);
            }
            Serve::Poll => {
                let asked = me.inbox > 0 || me.shut || s.gone;
                if me.notice || asked || me.waiting && !full {
                    server.asked = asked;
                    let tells = me.notice || me.waiting;
                    server.at = match (tells, self.is(ForgetsLast)) {
                        (false, _) => Serve::Receive,
                        (true, true) => Serve::Tell,
                        (true, false) => Serve::Forget,
                    };
                    out.step(who, "wakes", n);
                }
            }
            Serve::Forget => {
                server.notice = false;
                server.at = if self.is(ForgetsLast) { Self::on(me) } else { Serve::Tell };
                out.step(who, "forgets the signal", n);
            }
            Serve::Tell => match zombie {
                None => {
                    server.waiting = false;
                    server.at = if self.is(ForgetsLast) { Serve::Forget } else { Self::on(me) };
                    out.step(who, "finds nobody that has ended", n);
                }
                Some(_) if s.gone => {
                    Self::end_server(&mut n, i);
                    out.step(who, "has nobody to tell, and ends", n);
                }
                Some(_) if full && !self.is(DropsReport) => {
                    server.waiting = true;
                    server.at = Self::on(me);
                    out.step(who, "has no room to tell an end", n);
                }
                Some(child) => {
                    (server.told, server.at) = (child as u8, Serve::Reap);
                    if self.is(ReapsFirst) {
                        n.fork[child][i].run = Run::Gone;
                    } else if !full {
                        server.reports |= 1 << child;
                    }
                    out.step(who, "sees the end of a fork", n);
                }
            },
            Serve::Reap => {
                if self.is(ReapsFirst) {
                    server.reports |= 1 << me.told;
                } else {
                    n.fork[usize::from(me.told)][i].run = Run::Gone;
                }
                (n.server[i].at, n.server[i].told) = (Serve::Tell, 0);
                out.step(who, "has told it, and reaps it", n);
            }
            Serve::Receive if me.inbox > 0 => {
                server.inbox -= 1;
                server.got += 1;
                server.asked = false;
                let whole = server.got == self.packets;
                if whole {
                    server.got = 0;
                }
                server.at = if whole { Serve::Fork } else { Serve::Poll };
                out.step(who, "takes a packet", n);
            }
            Serve::Receive => {
                Self::end_server(&mut n, i);
                out.step(who, "sees that nobody asks any more, and ends", n);
            }
            Serve::Fork => {
                server.at = Serve::Reply;
                n.fork[usize::from(me.child)][i].run = Run::Reading;
                out.step(who, "forks", n);
                n = *s;
                n.server[i].at = Serve::Refuse;
                out.luck(who, "cannot fork", n);
            }
            Serve::Reply | Serve::Refuse if s.gone => {
                Self::end_server(&mut n, i);
                out.step(who, "has nobody to answer, and ends", n);
            }
            Serve::Reply | Serve::Refuse => {
                server.reply = if me.at == Serve::Reply { 1 } else { 2 };
                (server.at, server.child) = (Serve::Poll, 0);
                out.step(who, "answers", n);
            }
        }
    }

    /// Where a server goes after it looked for ends.
    fn on(me: Server) -> Serve {
        if me.asked { Serve::Receive } else { Serve::Poll }
    }

    fn fork(&self, s: &State, child: usize, of: usize, out: &mut Steps<State>) {
        let who = FIRST_FORK + child * SERVERS + of;
        let me = s.fork[child][of];
        let open = me.open && !s.gone;
        let orphan = s.server[of].at == Serve::Dead;
        let mut ended = *s;
        ended.fork[child][of].run = Run::Zombie;
        ended.server[of].notice |= !orphan;
        let mut n = *s;
        match me.run {
            Run::Unmade => {}
            Run::Reading | Run::Begun => {
                out.luck(who, "is killed", ended);
                if me.run == Run::Begun {
                    if !open && !self.is(ForkUntied) {
                        out.step(who, "is killed with its parent", ended);
                    }
                    // The first one is there for the others, unless the program ends.
                    let others = matches!(s.ask, Ask::Join | Ask::Done) && !s.gone;
                    if child != 0 || others || self.ends {
                        out.step(who, "returns", ended);
                    }
                } else if !open {
                    out.step(who, "sees its lifeline closed, and ends", ended);
                } else if me.message {
                    n.fork[child][of].run = Run::Begun;
                    n.begun[child] += 1;
                    let right = (s.begun[child] == 0).then_some(n).ok_or("a child begins twice");
                    out.either(who, "reads the message, and begins", right);
                }
            }
            Run::Zombie if orphan => {
                n.fork[child][of].run = Run::Gone;
                out.step(who, "is reaped by the system", n);
            }
            Run::Zombie => {}
            Run::Gone if !self.pidfds && !me.stranger => {
                n.fork[child][of].stranger = true;
                out.luck(who, "had a number that another process gets", n);
            }
            Run::Gone => {}
        }
    }
}

const SERVER: Server = Server {
    at: Serve::Unmade,
    ready: false,
    stopped: false,
    over: false,
    shut: false,
    inbox: 0,
    got: 0,
    child: 0,
    notice: false,
    waiting: false,
    asked: false,
    told: 0,
    reply: 0,
    reports: 0,
};

impl Protocol for ForkServer {
    type State = State;

    fn start(&self) -> State {
        let fork =
            Fork { run: Run::Unmade, open: false, message: false, told: false, stranger: false };
        State {
            gone: false,
            ask: Ask::Find,
            child: 0,
            asks: 0,
            end: End::Idle,
            ends: 0,
            table: NONE,
            started: 0,
            entered: [NONE; CHILDREN],
            begun: [0; CHILDREN],
            server: [SERVER; SERVERS],
            fork: [[fork; SERVERS]; CHILDREN],
        }
    }

    fn steps(&self, s: &State, out: &mut Steps<State>) {
        if !s.gone {
            self.ask(s, out);
            if self.ends {
                self.end(s, out);
            }
            let n = State { gone: true, ..*s };
            out.luck(ASKER, "is killed, and the other thread with it", n);
        }
        for i in 0..SERVERS {
            self.serve(s, i, out);
        }
        for child in 0..CHILDREN {
            for of in 0..SERVERS {
                self.fork(s, child, of, out);
            }
        }
    }

    fn finished(&self, s: &State) -> bool {
        let is_over = |of: usize, fork: &Fork| match fork.run {
            Run::Unmade | Run::Gone => true,
            // Its server is stopped: nobody can take it away.
            Run::Zombie => s.server[of].stopped,
            Run::Reading | Run::Begun => false,
        };
        let forks =
            s.fork.iter().all(|forks| forks.iter().enumerate().all(|(of, f)| is_over(of, f)));
        let ended = |server: &Server| matches!(server.at, Serve::Unmade | Serve::Dead);
        match s.gone {
            true => forks && s.server.iter().all(ended),
            false => forks && s.ask == Ask::Done && !self.ends,
        }
    }

    fn name(&self, who: usize) -> String {
        match who {
            ASKER => "asker".to_owned(),
            ENDER => "ender".to_owned(),
            _ if who < FIRST_FORK => format!("server {}", who - FIRST_SERVER),
            _ => {
                let fork = who - FIRST_FORK;
                format!("fork {} of server {}", fork / SERVERS, fork % SERVERS)
            }
        }
    }
}

const NAME: &str = "fork server";

/// Every case of this model.
pub fn cases(quick: bool) -> Vec<Case> {
    let stays = ForkServer { packets: 1, ends: false, stops: false, pidfds: true, mutant: None };
    let ends = ForkServer { ends: true, stops: true, ..stays };
    let numbers = ForkServer { pidfds: false, ..stays };
    let (stay, end, number) =
        ("2 children, 2 servers", "an end meanwhile, stopped servers", "no descriptors of forks");
    let mutant = |config, protocol: ForkServer, name, mutant, expect: Expect| {
        Case::mutant(NAME, config, name, expect, ForkServer { mutant: Some(mutant), ..protocol })
    };
    let mut cases = vec![
        Case::sound(NAME, stay, stays),
        Case::sound(NAME, number, numbers),
        mutant(stay, stays, "the message goes with the request", MessageWithRequest, Unsafe),
        mutant(stay, stays, "a lifeline is kept when its server is gone", KeepsLifeline, Stuck),
        mutant(stay, stays, "forks keep the server's sockets", KeepsSockets, Stuck),
        mutant(stay, stays, "a signal is forgotten after the look", ForgetsLast, Stuck),
        mutant(stay, stays, "a report that finds no room is dropped", DropsReport, Stuck),
        mutant(stay, stays, "an end is told before it came", UnknownWhileAlive, Unsafe),
        mutant(stay, stays, "a dead server is asked again", AsksTheSame, Stuck),
        mutant(stay, stays, "forks are not tied to the client", ForkUntied, Stuck),
        mutant(number, numbers, "a number is believed", NoIdentity, Unsafe),
        mutant(end, ends, "a fork is reaped before its end is told", ReapsFirst, Stuck),
        mutant(end, ends, "the end waits for the request", EndTakesRequestLock, Stuck),
        mutant(end, ends, "the end waits for a server's beginning", EndTakesTableLock, Stuck),
        mutant(end, ends, "nobody looks at an unreaped fork", NoLookAtZombie, Stuck),
        mutant(end, ends, "servers are not tied to the client", ServerUntied, Stuck),
    ];
    if !quick {
        cases.push(Case::sound(NAME, end, ends));
        let all = ForkServer { packets: 2, pidfds: false, ..ends };
        cases.push(Case::sound(NAME, "the same, two packets, no descriptors", all));
    }
    cases
}
