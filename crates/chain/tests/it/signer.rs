//! Keystores of others open, ours open elsewhere, and signatures are what the contracts and `cast` take.

use alloy::{
    primitives::{B256, address, b256, hex, keccak256},
    signers::local::PrivateKeySigner,
};
use berth_chain::{
    signer::{
        Secret, Signer,
        keystore::{self, Cost, KeystoreError},
        recover, recover_text,
    },
    tool::tool_path,
};
use berth_protocol::domain::{Assignment, Domain};
use std::{os::unix::fs::PermissionsExt as _, process::Command};

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

/// As ethers 6 writes it.
const ETHERS: &str = r#"{"address":"8bf26bb2d79e4afb08b76a06b80852ecd6a65069","id":"3ba4198b-3ce9-4b08-a976-8f5a2963ccb2",
"version":3,"Crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"9d680b4d4fa99b96e2ec76cb02f6a127"},
"ciphertext":"38b6b32e61750286dd2e35881b5fa64972562d5d0eb9a36e58fd0442bfc042f8","kdf":"scrypt","kdfparams":{
"salt":"6d2246bcfb2cf2de1ca46c9469f25ab97b5b8e0767e9476fafabde9ba1b6cb93","n":131072,"dklen":32,"p":1,"r":8},
"mac":"e24ead06c16cf04a03336880c982d88c537005fd7d6c2888909adfa04ad0af4b"}}"#;
/// The format's other key derivation, made with Node's own cryptography; with 0x and a checksummed address.
const PBKDF2: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"8c55c81db7ea3a0aa4a9201e5b731b7e"},
"ciphertext":"0xcf3edcc46e15a23aa21fc3134d85a1cdd425718de09768ca554091bdcf5fa4c2","kdf":"pbkdf2","kdfparams":{"c":10240,
"dklen":32,"prf":"hmac-sha256","salt":"e870448b6dc03adc9e8e1a238ac783f1ab94fa6aa270da953c583874de4a0509"},
"mac":"d8517ae38db32f8daeb7e002a08bedd8e1682e378daf93141b3ecffe24266394"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6",
"address":"0xe4634C362faf15C4FE279236cC49400FF5E7b5d8","version":3}"#;

#[test]
fn keystores_of_other_programs_open() -> eyre::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("key");
    let bare = ETHERS.replace(r#""address":"8bf26bb2d79e4afb08b76a06b80852ecd6a65069","#, "");
    let ethers = address!("8bF26Bb2D79E4AFb08b76a06b80852ecD6a65069");
    let node = address!("e4634C362faf15C4FE279236cC49400FF5E7b5d8");
    for (document, password, named, owner) in [
        (ETHERS, "correct horse", Some(ethers), ethers),
        (&bare, "correct horse", None, ethers),
        (PBKDF2, "old password", Some(node), node),
    ] {
        std::fs::write(&path, document)?;
        assert_eq!(keystore::address(&path)?, named);
        assert_eq!(keystore::open(&path, &secret(password))?.address(), owner);
    }
    std::fs::write(&path, ETHERS)?;
    let wrong = keystore::open(&path, &secret("Correct horse"));
    assert!(matches!(wrong, Err(KeystoreError::WrongPassword { .. })), "{wrong:?}");
    Ok(())
}

#[test]
fn a_new_keystore_is_private_and_opens_in_other_programs() -> eyre::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("keys/own.json");
    let signer = Signer::random();
    keystore::create(&path, &signer, &secret("a b"), Cost::STANDARD)?;
    assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(folder.path().join("keys"))?.permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::read_dir(folder.path().join("keys"))?.count(), 1);
    let document: serde_json::Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    assert_eq!(document["crypto"]["kdfparams"]["n"], 131_072);
    assert_eq!(keystore::address(&path)?, Some(signer.address()));
    // alloy's reader is another implementation (eth-keystore, as cast uses it).
    assert_eq!(PrivateKeySigner::decrypt_keystore(&path, "a b")?.address(), signer.address());
    assert_eq!(keystore::open(&path, &secret("a b"))?.address(), signer.address());
    let again = keystore::create(&path, &Signer::random(), &secret("c"), Cost::LIGHT);
    assert!(matches!(again, Err(KeystoreError::Exists { .. })), "{again:?}");
    Ok(())
}

#[test]
fn what_is_no_keystore_says_what_is_wrong() -> eyre::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("x");
    assert!(matches!(keystore::open(&path, &secret("x")), Err(KeystoreError::Read { .. })));
    let huge = ETHERS.replace("131072", "1073741824");
    let other = PBKDF2.replace("0xe4634C36", "0xf4634C36");
    for (document, what) in [
        ("nonsense", "expected"),
        (r#"{"version":1}"#, "version is 1"),
        (r#"{"version":3}"#, "`crypto` is missing"),
        (&huge, "its scrypt has n"),
        (&other, "it names"),
    ] {
        std::fs::write(&path, document)?;
        let error = keystore::open(&path, &secret("old password")).expect_err("it is none");
        assert!(error.to_string().contains(what), "{error}");
    }
    Ok(())
}

#[test]
fn secrets_print_nothing() -> eyre::Result<()> {
    let signer = Signer::from_hex(&secret(&"11".repeat(32)))?;
    assert_eq!(format!("{:?} {signer:?}", secret("hush")), format!("Secret(…) Signer({})", signer.address()));
    assert!(Signer::from_hex(&secret("zz")).is_err());
    Ok(())
}

#[test]
fn signatures_are_those_that_the_contracts_take() -> eyre::Result<()> {
    let signer = Signer::random();
    let domain = Domain { chain_id: 31_337, berth: address!("00000000000000000000000000000000000000b7") };
    let assignment = Assignment { task: keccak256("task"), worker: signer.address() };
    let signature = signer.sign(&domain, &assignment);
    let digest = domain.digest(&assignment);
    assert_eq!(recover(digest, &signature), Some(signer.address()));
    assert_ne!(recover(B256::ZERO, &signature), Some(signer.address()));
    // Its twin with a high s recovers to the same key, and the contracts refuse it: so must we.
    let order = b256!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");
    let s = alloy::primitives::U256::from_be_slice(&signature[32..64]);
    let mut twin = signature.to_vec();
    twin[32..64].copy_from_slice(&(alloy::primitives::U256::from_be_bytes(order.0) - s).to_be_bytes::<32>());
    twin[64] = 55 - twin[64];
    assert_eq!(recover(digest, &twin), None);
    assert_eq!(recover(digest, &signature[..64]), None);
    let text = signer.sign_text("berth wants you to sign in");
    assert_eq!(recover_text("berth wants you to sign in", &text), Some(signer.address()));
    Ok(())
}

#[test]
fn cast_signs_and_opens_the_same() -> eyre::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("key");
    let signer = Signer::from_hex(&secret(&"5a".repeat(32)))?;
    keystore::create(&path, &signer, &secret("pw"), Cost::LIGHT)?;
    let output = Command::new(tool_path("cast")?)
        .args(["wallet", "sign", "--password", "pw", "--keystore"])
        .arg(&path)
        .arg("a text")
        .output()?;
    eyre::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let signature = hex::decode(String::from_utf8(output.stdout)?.trim())?;
    assert_eq!(signature, signer.sign_text("a text").to_vec());
    Ok(())
}
