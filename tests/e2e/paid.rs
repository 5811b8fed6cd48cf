//! Jobs that go well.

use berth_tests::{
    engine::IMAGE,
    receipt::Receipt,
    world::{World, within},
};
use eyre::{ContextCompat as _, ensure};
use std::fs;

/// What a job can find, it finds; what it leaves, its requester gets, byte for byte; and all money is where it belongs.
#[tokio::test]
async fn a_paid_job_gets_its_inputs_and_its_requester_every_byte_and_wei() -> eyre::Result<()> {
    within(1, async |world: &mut World| {
        let book: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let book_path = world.file("book.bin", &book)?;
        world.file("words.txt", b"one two three\n")?;
        let flags = [
            "--input",
            &book_path.to_string_lossy(),
            "--input",
            "notes=words.txt",
            "--stdin",
            "words.txt",
            "--env",
            "GREETING=hello there",
            "--out",
            "result",
        ];
        let script = "cp /iexec_in/book.bin /iexec_out/copy.bin && mkdir /iexec_out/deep && \
                      cat > /iexec_out/deep/stdin.txt && cat /iexec_in/notes > /iexec_out/notes && \
                      echo \"$GREETING\" > /iexec_out/greeting && echo said >&2";
        let before = world.books().await?;
        let receipt: Receipt = world.run(&flags, script)?.json().await?;
        receipt.require_true(&world.chain, &before, &world.books().await?).await?;
        let task = receipt.only()?;
        ensure!(task.verified && task.exit == Some(0), "{task:?}");
        let result = world.folder().join("result");
        for (path, wanted) in [
            ("copy.bin", book.as_slice()),
            ("deep/stdin.txt", b"one two three\n"),
            ("notes", b"one two three\n"),
            ("greeting", b"hello there\n"),
        ] {
            ensure!(fs::read(result.join(path))? == wanted, "{path} is not what the job left");
        }

        // The same command again is another deal, paid again; without files, standard output is the result.
        for _ in 0..2 {
            let before = world.books().await?;
            let receipt: Receipt = world.run(&[], "echo $((6 * 7))")?.json().await?;
            receipt.require_true(&world.chain, &before, &world.books().await?).await?;
            ensure!(receipt.only()?.stdout.as_deref() == Some("42\n"), "{receipt:?}");
        }

        // For people: the result on standard output, the receipt beside it.
        let outcome = world.run(&[], "echo plain; echo hidden >&2")?.must().await?;
        ensure!(outcome.stdout == "plain\n", "{outcome}");
        for word in ["deal", "digest", "worker", "verified", "paid", "gas"] {
            ensure!(outcome.stderr.contains(word), "no {word} in the receipt: {outcome}");
        }
        Ok(())
    })
    .await
}

/// A bag: eight tasks in one deal, each with its element, over two workers.
#[tokio::test]
async fn a_bag_of_eight_tasks_is_one_deal_of_eight_results() -> eyre::Result<()> {
    within(2, async |world: &mut World| {
        let before = world.books().await?;
        let script = "echo $BERTH_EACH $BERTH_TASK_INDEX $1 > /iexec_out/answer";
        let call = world.berth(["run", IMAGE, "--each", "a,b,c,d,e,f,g,h", "--out", "bag"])?;
        let receipt: Receipt = call.args(["--", "sh", "-c", script, "sh", "<{}>"]).json().await?;
        receipt.require_true(&world.chain, &before, &world.books().await?).await?;
        ensure!(receipt.tasks.len() == 8, "{receipt:?}");
        for (index, element) in ["a", "b", "c", "d", "e", "f", "g", "h"].into_iter().enumerate() {
            let answer = fs::read_to_string(world.folder().join(format!("bag/{index}/answer")))?;
            ensure!(answer == format!("{element} {index} <{element}>\n"), "task {index} says {answer}");
        }
        let deal = world.books().await?.deals.remove(&receipt.deal).wrap_err("the deal is on chain")?;
        ensure!(deal.terms.size == 8 && deal.endings.len() == 8);
        Ok(())
    })
    .await
}
