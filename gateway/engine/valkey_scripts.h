/* valkey_scripts.h: what the server does at one go. Every key has the same hash tag, so that they lie together in a
 * cluster of servers. */
#ifndef GW_ENGINE_VALKEY_SCRIPTS_H
#define GW_ENGINE_VALKEY_SCRIPTS_H

/* Adds entries to the log, and messages to the histories of their channels.
 * KEYS: log, channels, meta. ARGV: prefix of histories, entries of the log, channels at most, id of the entry that
 * must be the newest of the log ("": any, to mend); then for each entry: id, messages that its history holds ("": it
 * is no message), number of fields, fields. If the log does not end where it should, nothing is changed, and the
 * error says why: FENCED, another leader has written to it; CUT, it has lost its end. Mending skips entries that are
 * not above the top. */
extern const char gw_script_append[];

/* Begins a term. KEYS: log, meta, lease, epoch. ARGV: who we are, the server's run id, the least first number, the
 * term that we know, 1 if messages may be lost, digest of the configuration, epoch, entries of the log, wall clock.
 * Returns term and number of the fence. */
extern const char gw_script_fence[];

/* KEYS: lease. ARGV: who we are, lease in ms. Returns 1 if it is ours still. */
extern const char gw_script_renew[];

/* Ends a term in order. KEYS: log, meta, lease. ARGV: who we are, id of the entry, entries of the log, wall clock. */
extern const char gw_script_resign[];

/* Leaves a text where we have claimed the place. KEYS: the place. ARGV: our claim, the text, how long it stays in ms.
 * Returns 0 if another has claimed it or left something meanwhile, which is newer. */
extern const char gw_script_put_claimed[];

#endif
