//! `antiphon config check | print | init`.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{
    cli::config::{ConfigCommand, SourceArgs},
    config::{
        load::{self, Problems, Sources},
        problem::{Place, Problem},
        show, template,
    },
    failure::{Exit, Failure, plain},
    value::to_hex,
};

/// The file that `config init` writes where none is named.
const FILE: &str = "antiphon.toml";

/// Bytes of a secret that is made here.
const SECRET: usize = 32;

/// Does what was asked.
///
/// # Errors
///
/// There are problems, which have been listed; or a file cannot be written.
pub(crate) fn run(command: &ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check { file, json, source } => {
            let mut source = source.clone();
            source.config = file.clone().or(source.config);
            check(&source, *json)
        }
        ConfigCommand::Print {
            source,
            defaults,
            json,
        } => print(source, *defaults, *json),
        ConfigCommand::Init { file, force } => {
            init(file.as_deref().unwrap_or(Path::new(FILE)), *force)
        }
    }
}

/// The sources that these options name.
pub(crate) fn sources(args: &SourceArgs) -> Sources {
    let mut sources = Sources::of_process(args.config.clone());
    sources.set(&args.set);
    sources
}

/// Lists all problems on stderr, and gives the one failure that is left to say.
pub(crate) fn refused(problems: &Problems) -> Failure {
    for problem in &problems.0 {
        let _ = writeln!(anstream::stderr(), "{problem}");
    }
    let count = problems.0.len();
    let s = if count == 1 { "" } else { "s" };
    Failure::new(
        Exit::Failure,
        format!("the configuration has {count} problem{s}"),
        "antiphon config print --defaults shows every key",
    )
}

fn check(args: &SourceArgs, as_json: bool) -> Result<(), Failure> {
    let sources = sources(args);
    let (problems, warnings) = match load::load(&sources) {
        Ok(loaded) => (Vec::new(), loaded.warnings),
        Err(Problems(problems)) => (problems, Vec::new()),
    };
    if as_json {
        let answer = json!({
            "ok": problems.is_empty(),
            "problems": problems.iter().map(object).collect::<Vec<_>>(),
            "warnings": warnings.iter().map(object).collect::<Vec<_>>(),
        });
        say(&format!("{answer}\n"))?;
        return if problems.is_empty() {
            Ok(())
        } else {
            Err(Failure::silent(Exit::Failure))
        };
    }
    for warning in &warnings {
        let _ = writeln!(anstream::stderr(), "{warning} (warning)");
    }
    if !problems.is_empty() {
        return Err(refused(&Problems(problems)));
    }
    say(&match &sources.file {
        Some(file) => format!("{} is good\n", file.display()),
        None => "the configuration is good; no file was named\n".to_owned(),
    })
}

fn object(problem: &Problem) -> Value {
    let mut object = json!({
        "key": problem.path,
        "what": problem.what,
        "hint": problem.hint,
    });
    match &problem.place {
        Some(Place::File(file, line, column)) => {
            object["file"] = json!(file);
            object["line"] = json!(line);
            object["column"] = json!(column);
        }
        Some(Place::Variable(name)) => object["variable"] = json!(name),
        Some(Place::Flag(name)) => object["flag"] = json!(name),
        None => {}
    }
    object
}

fn print(args: &SourceArgs, defaults: bool, as_json: bool) -> Result<(), Failure> {
    let said = if defaults {
        BTreeMap::new()
    } else {
        load::load(&sources(args))
            .map_err(|problems| refused(&problems))?
            .said
    };
    say(&if as_json {
        format!("{:#}\n", show::json(&said))
    } else {
        show::toml(&said)
    })
}

fn init(path: &Path, force: bool) -> Result<(), Failure> {
    let secret = format!("\"{}\"", random()?);
    let text = template::file(&[("auth.mode", "\"jwt\""), ("auth.secret", &secret)]);
    let failed = |error: &io::Error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            return Failure::new(
                Exit::Failure,
                format!("{} exists", path.display()),
                "choose another name, or overwrite it with --force",
            );
        }
        Failure::new(
            Exit::Failure,
            format!("cannot write {}: {}", path.display(), plain(error)),
            "check the folder and who may write there",
        )
    };
    if force {
        // Renamed into place: a reader sees the old file or the new one, and the mode is that of the new one.
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let new = PathBuf::from(name);
        write(&new, &text)
            .and_then(|()| fs::rename(&new, path))
            .inspect_err(|_| drop(fs::remove_file(&new)))
            .map_err(|error| failed(&error))?;
    } else {
        write(path, &text).map_err(|error| failed(&error))?;
    }
    let name = path.display();
    say(&format!(
        "{name} is written; nobody else can read it\ncheck it with: antiphon config check {name}\nstart with: antiphon serve --config {name}\n"
    ))
}

/// A new file that only its owner can read.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Random text, hard to guess.
fn random() -> Result<String, Failure> {
    let mut bytes = [0; SECRET];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| {
        Failure::new(
            Exit::Failure,
            "the system gives no random numbers",
            "make secrets elsewhere: openssl rand -hex 32",
        )
    })?;
    Ok(to_hex(&bytes))
}

/// Writes to stdout; a reader that hung up is no failure.
fn say(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::Failure,
            format!("cannot write to stdout: {}", plain(&error)),
            "check where it goes",
        )),
        _ => Ok(()),
    }
}
