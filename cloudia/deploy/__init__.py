"""What goes to AWS, made from `cloudia.stack`: provisioning, and the functions as zips."""
