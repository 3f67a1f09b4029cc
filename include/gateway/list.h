/* list.h: lists whose items hold them together themselves: `next`, and `link`, which is where the pointer to the item
 * is. So an item is taken out without a search, and by one who does not know the list's head. `next` and `link` below
 * are the names of those two members. Thread: the owner's. */
#ifndef GATEWAY_LIST_H
#define GATEWAY_LIST_H

/* In front. An empty list is NULL. */
#define GW_LIST_ADD(head, item, next, link)                                                                          \
    do {                                                                                                             \
        (item)->next = (head);                                                                                       \
        (item)->link = &(head);                                                                                      \
        if ((item)->next)                                                                                            \
            (item)->next->link = &(item)->next;                                                                      \
        (head) = (item);                                                                                             \
    } while (0)

#define GW_LIST_REMOVE(item, next, link)                                                                             \
    do {                                                                                                             \
        *(item)->link = (item)->next;                                                                                \
        if ((item)->next)                                                                                            \
            (item)->next->link = (item)->link;                                                                       \
    } while (0)

/* A list to which items are added behind: `end` is where the next one will hang, at first the head. */
#define GW_QUEUE_ADD(end, item, next, link)                                                                          \
    do {                                                                                                             \
        (item)->next = NULL;                                                                                         \
        (item)->link = (end);                                                                                        \
        *(end) = (item);                                                                                             \
        (end) = &(item)->next;                                                                                       \
    } while (0)

#define GW_QUEUE_REMOVE(end, item, next, link)                                                                       \
    do {                                                                                                             \
        *(item)->link = (item)->next;                                                                                \
        *((item)->next ? &(item)->next->link : &(end)) = (item)->link;                                               \
    } while (0)

#endif
