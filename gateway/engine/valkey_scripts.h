/* valkey_scripts.h: what the server does at one go. Every key has the same hash tag, so that they lie together in a
 * cluster of servers. */
#ifndef GW_ENGINE_VALKEY_SCRIPTS_H
#define GW_ENGINE_VALKEY_SCRIPTS_H

/* Adds entries to the log, and messages to the histories of their channels.
 * KEYS: log, channels, meta. ARGV: prefix of histories, entries of the log, channels at most, id of the entry that
 * must be the newest of the log ("": any, to mend); then for each entry: id, messages that its history holds ("": it
 * is no message), number of fields, fields. If the log does not end where it should, nothing is changed, and the
 * error says why: FENCED, another leader has written to it; CUT, it has lost its end. Mending skips entries that are
 * not above the top.
 * A server without enough memory may throw whole keys away, and the next entry would make them anew. So `channels`
 * has a member without a name, and `meta` a field `whole`: where one of them is missing, others are missing too. */
extern const char gw_script_append[];

/* Begins a term. KEYS: log, meta, lease, epoch, channels. ARGV: who we are, the server's run id, the least first
 * number, the term that we know, 1 if messages may be lost, digest of the configuration, epoch, entries of the log,
 * wall clock. Returns term and number of the fence. Where keys are missing, whatever is older is forgotten; where it
 * is the log, and nobody has mended it, messages are lost. */
extern const char gw_script_fence[];

/* KEYS: lease; epoch, log, meta, channels or none. ARGV: who we are, lease in ms. Returns 1 if it is ours still, 2 if
 * it is and one of the others is missing. */
extern const char gw_script_renew[];

/* Ends a term in order. KEYS: log, meta, lease. ARGV: who we are, id of the entry, entries of the log, wall clock. */
extern const char gw_script_resign[];

/* Leaves a text where we have claimed the place. KEYS: the place. ARGV: our claim, the text, how long it stays in ms.
 * Returns 0 if another has claimed it or left something meanwhile, which is newer. */
extern const char gw_script_put_claimed[];

#endif
