/* mail.h: letters between workers, for transports whose requests of one session arrive on several of them.
 *
 * A letter is the first member of what is sent. Sending never waits, so two workers can send to each other; what can
 * be on its way is bounded by the sender, who keeps count of its letters. */
#ifndef GATEWAY_MAIL_H
#define GATEWAY_MAIL_H

struct gw_hub;

struct gw_letter {
    struct gw_letter *next;
    /* Takes the letter. Thread: the receiving worker's. */
    void (*deliver)(struct gw_letter *letter, struct gw_hub *hub);
    /* The worker has ended: frees what the letter holds, or sends it elsewhere. Thread: any. */
    void (*drop)(struct gw_letter *letter);
};

/* How a hub sends; gw_hub_setup has one. */
struct gw_mail {
    void *context;
    /* Thread: any. */
    void (*send)(void *context, unsigned worker, struct gw_letter *letter);
};

/* Sends the letter, which is the receiver's from here on, to the worker of that number (gw_hub_worker()). Letters to
 * one worker arrive in the order in which they were sent. Thread: the hub's. */
void gw_hub_send(struct gw_hub *hub, unsigned worker, struct gw_letter *letter);

#endif
