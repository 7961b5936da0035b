use crate::actors::*;
use std::time::Instant;
use waxwing_e2ee::mls::{Group, Mls, Received};

#[test]
fn timing() {
    const N: u32 = 500;
    let (mut alice, mut bob) = (Phone::alice(1), Phone::bob(2));
    // on disk, like a client
    let dir = std::env::temp_dir().join(format!("waxtime{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for phone in [&mut alice, &mut bob] {
        let path = dir.join(format!("{}.db", phone.device.username));
        phone.db.execute("VACUUM INTO ?1", [path.to_str().unwrap()]).unwrap();
        phone.db = rusqlite::Connection::open(path).unwrap();
        phone.db.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON;").unwrap();
    }
    alice.create(&alice_and_bob());
    bob.join(&alice.add(&[bob.key_package()]).welcome.unwrap()).unwrap();
    let c = bob.update(); alice.receive(&c).unwrap();
    let c = alice.update(); bob.receive(&c).unwrap();
    let text = "x".repeat(252);
    let us = |t: Instant| t.elapsed().as_micros() / u128::from(N);
    let t = Instant::now();
    let one: Vec<_> = (0..N).map(|_| alice.send(&text)).collect();
    println!("encrypt, load + tx each: {} us, {} bytes", us(t), one[0].len());
    let t = Instant::now();
    for m in &one { bob.receive(m).unwrap(); }
    println!("decrypt, load + tx each: {} us", us(t));
    let t = Instant::now();
    let kept: Vec<_> = alice.with(|g, d, _| (0..N).map(|_| g.encrypt(d, text.as_bytes())).collect()).unwrap();
    println!("encrypt, kept, one tx: {} us", us(t));
    let t = Instant::now();
    bob.with(|g, _, k| { for m in &kept { assert!(matches!(g.receive(k, m)?, Received::Message { .. })); } Ok(()) }).unwrap();
    println!("decrypt, kept, one tx: {} us", us(t));
    let more: Vec<_> = alice.with(|g, d, _| (0..N).map(|_| g.encrypt(d, text.as_bytes())).collect()).unwrap();
    let tx = bob.db.transaction().unwrap();
    let t = Instant::now();
    for m in &more { let mls = Mls::new(&tx); Group::load(&mls, &CHAT).unwrap().unwrap().receive(&bob.known, m).unwrap(); }
    println!("decrypt, loaded each, one tx: {} us", us(t));
    let t = Instant::now();
    for _ in 0..N { let mls = Mls::new(&tx); Group::load(&mls, &CHAT).unwrap().unwrap(); }
    println!("load: {} us", us(t));
    let mls = Mls::new(&tx); let mut g = Group::load(&mls, &CHAT).unwrap().unwrap();
    let t = Instant::now();
    for m in &more { g.receive(&bob.known, m).unwrap_err(); }
    println!("refused entry (rollback and reload): {} us", us(t));
    let t = Instant::now();
    for _ in 0..N { waxwing_e2ee::mls::savepoint(mls_tx(&tx), || Ok::<_, rusqlite::Error>(())).unwrap(); }
    println!("savepoint: {} us", us(t));
    std::fs::remove_dir_all(dir).ok();
}
fn mls_tx<'a>(tx: &'a rusqlite::Transaction) -> &'a rusqlite::Connection { tx }
