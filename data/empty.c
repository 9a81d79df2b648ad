typedef int wtl_nothing_here;
