-- How an app runs, as its descriptor says. Of apps that were followed before it is not known.
ALTER TABLE asset ADD COLUMN runtime TEXT;

DROP VIEW book;

CREATE VIEW book AS
SELECT o.*,
       a.name,
       a.runtime,
       CASE o.volume
           WHEN 4294967295 THEN o.volume
           ELSE max(0, o.volume - coalesce((SELECT sum(c.tasks) FROM consumption c WHERE c.order_hash = o.hash), 0))
       END AS remaining,
       (SELECT w.owner FROM asset_owner w WHERE w.asset = o.asset ORDER BY w.block DESC, w.log_index DESC LIMIT 1)
           AS owner,
       coalesce(
           (SELECT e.epoch FROM account_epoch e WHERE e.account = o.signer
             ORDER BY e.block DESC, e.log_index DESC LIMIT 1),
           '00000000000000000000'
       ) AS least_epoch
  FROM signed_order o
  LEFT JOIN asset a ON a.id = o.asset;
