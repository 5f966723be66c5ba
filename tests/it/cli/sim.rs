//! `rekon sim`: what it prints is enough to talk to it, and it ends when it is told to.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use super::rig::{Rig, Run, bare, signal};

#[tokio::test]
async fn what_it_prints_is_a_configuration_that_loads_and_payments_that_import() {
    let rig = Rig::new().await;
    let folder = rig.path("sim").display().to_string();
    let drawn = ["--seed", "7", "--payments", "25", "--scenario", "exact"];
    let args = [&["sim", "--listen", "127.0.0.1:0", "--account", "doku-sandbox"][..], &drawn, &["--out", &folder]];
    let mut child = bare(&args.concat(), &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    while !told.contains("merchant_id") {
        assert!(stdout.read_line(&mut told).unwrap() > 0, "{told}");
    }
    let config = rig.file("jobs.toml", &told);
    rig.run(&["config", "check", "--config", &config]).ends(0);
    let expected = rig.path("sim/expected.csv").display().to_string();
    let run = rig.run(&["import", &expected]).ends(0);
    assert!(rig.rows().await.starts_with("doku-sandbox/"), "under the name that was asked for");
    assert_eq!(run.stdout, "25 inserted, 0 unchanged, 0 bad (skipped), of 25 lines\n");
    signal(child.id(), "TERM");
    Run::of(child.wait_with_output().unwrap()).ends(0);
}

#[test]
fn a_taken_address_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    Run::of(bare(&["sim", "--listen", &address], &[]).output().unwrap())
        .ends(1)
        .says("cannot listen on")
        .says(&address);
}
