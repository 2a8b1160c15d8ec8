//! Installs what a check needs and the machine does not have: Debian packages, cargo tools, npm and Python packages.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::context::Context;
use crate::process::{exists, must, run};

/// How long an installation may take.
const PATIENCE: Duration = Duration::from_secs(900);

/// Makes sure that a program is there; otherwise installs its Debian package.
pub(crate) fn debian(context: &Context, program: &str, package: &str) -> Result<()> {
    if exists(program) {
        return Ok(());
    }
    apt(context, package)?;
    if exists(program) {
        Ok(())
    } else {
        bail!("{package} was installed, but there is no {program}")
    }
}

/// Makes sure that Chinese text has a font: without one a browser draws boxes.
pub(crate) fn chinese_font(context: &Context) -> Result<()> {
    debian(context, "fc-list", "fontconfig")?;
    let fonts = || run(context, PATIENCE, Command::new("fc-list").arg(":lang=zh"));
    if fonts()?.1.trim().is_empty() {
        apt(context, "fonts-wqy-zenhei")?;
    }
    if fonts()?.1.trim().is_empty() {
        bail!("fonts-wqy-zenhei was installed, but no font has Chinese characters")
    }
    Ok(())
}

fn apt(context: &Context, package: &str) -> Result<()> {
    if !exists("apt-get") {
        bail!("{package} is missing and this is no Debian: install it by hand");
    }
    must(
        context,
        PATIENCE,
        Command::new("apt-get").args(["-qq", "update"]),
    )?;
    let mut install = Command::new("apt-get");
    install.args(["-qq", "-y", "--no-install-recommends", "install", package]);
    must(
        context,
        PATIENCE,
        install.env("DEBIAN_FRONTEND", "noninteractive"),
    )?;
    Ok(())
}

/// The path of a cargo tool of this exact version, built below the target directory.
pub(crate) fn cargo_tool(context: &Context, name: &str, version: &str) -> Result<PathBuf> {
    let root = context.tools().join(format!("{name}-{version}"));
    let program = root.join("bin").join(name);
    if !program.is_file() {
        let mut install = Command::new("cargo");
        install
            .args([
                "install",
                "--quiet",
                "--locked",
                // It runs for seconds: what counts is how long it takes to build.
                "--debug",
                "--version",
                version,
                "--root",
            ])
            .arg(&root);
        install
            .arg("--target-dir")
            .arg(context.tools().join("build"))
            .arg(name);
        must(context, PATIENCE, &mut install)?;
    }
    Ok(program)
}

/// Installs the locked npm packages of a folder, unless they are there and as new as the lock file.
pub(crate) fn npm(context: &Context, folder: &str) -> Result<PathBuf> {
    let folder = context.root.join(folder);
    let (lock, done) = (
        folder.join("package-lock.json"),
        folder.join("node_modules/.package-lock.json"),
    );
    let modified = |path: &PathBuf| path.metadata().and_then(|meta| meta.modified()).ok();
    if modified(&done).is_none() || modified(&done) < modified(&lock) {
        let mut install = Command::new("npm");
        install
            .args([
                "ci",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
            ])
            .current_dir(&folder);
        must(context, PATIENCE, &mut install)?;
    }
    Ok(folder)
}

/// Debian keeps the part of Python that makes venvs in a package of its own.
pub(crate) fn venv_is_possible(context: &Context) -> Result<()> {
    let (there, _) = run(
        context,
        PATIENCE,
        Command::new("python3").args(["-c", "import ensurepip, venv"]),
    )?;
    if !there {
        apt(context, "python3-venv")?;
    }
    Ok(())
}

/// The interpreter of a venv with the packages of a requirements file.
pub(crate) fn python(context: &Context, name: &str, requirements: &str) -> Result<PathBuf> {
    let venv = context.tools().join(name);
    let (python, stamp) = (venv.join("bin/python"), venv.join("installed.txt"));
    let wanted = std::fs::read_to_string(context.root.join(requirements))?;
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    venv_is_possible(context)?;
    must(
        context,
        PATIENCE,
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&venv),
    )?;
    let mut install = Command::new(&python);
    install
        .args(["-m", "pip", "install", "--quiet", "--requirement"])
        .arg(context.root.join(requirements));
    must(context, PATIENCE, &mut install)?;
    std::fs::write(&stamp, wanted)?;
    Ok(python)
}
