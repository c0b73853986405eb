//! What is accepted can be served.

use std::cell::{Cell, RefCell};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::assemble::{Assembly, Clients};
use crate::config::Config;
use crate::config::tests::generate::{Numbers, file};

/// The stacks too, and once more as a reload makes them.
#[test]
fn every_file_without_faults_becomes_stacks() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _within = runtime.enter();
    let (accepted, refused) = (Cell::new(0), RefCell::new(Vec::new()));
    let mut runner = TestRunner::default();
    let files = file(&Config::schema(), Numbers::Extreme);
    runner
        .run(&files, |text| {
            match Config::parse(&text, "gateway.toml", std::path::Path::new("no-such-folder"), &|_| None) {
                Err(faults) => refused.borrow_mut().push(faults.to_string()),
                Ok(loaded) => {
                    accepted.set(accepted.get() + 1);
                    let assembly = Assembly::new(&loaded.config, None);
                    let assembly = assembly.map_err(|error| TestCaseError::fail(format!("{error}:\n{text}")))?;
                    let clients = assembly.clients(&Clients::new());
                    drop(assembly.worker(&clients));
                    let again = Assembly::new(&loaded.config, Some(&assembly));
                    let again = again.map_err(|error| TestCaseError::fail(format!("again: {error}:\n{text}")))?;
                    drop(again.worker(&again.clients(&clients)));
                }
            }
            Ok(())
        })
        .unwrap();
    // If nearly all were refused this would show nothing.
    let (accepted, refused) = (accepted.get(), refused.into_inner());
    let all = accepted + refused.len();
    assert!(accepted * 50 > all, "{accepted} of {all} were accepted: {:#?}", &refused[..refused.len().min(20)]);
}
